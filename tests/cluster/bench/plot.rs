//! Plots of the figures as SVG: one line over the number of credentials, both axes logarithmic.

use std::fmt::Write as _;
use std::path::Path;

use super::figures::Figures;

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 320.0;
const MARGIN: f64 = 60.0;

/// What is plotted: a section and one of its figures.
const PLOTS: [(&str, &str); 6] = [
    ("first issue", "seconds"),
    ("first issue", "wait p99 seconds"),
    ("first issue", "operator CPU ms a credential"),
    ("first issue", "API server CPU ms a credential"),
    ("memory", "resident MiB"),
    ("memory", "heap KiB a credential"),
];

/// The part of a logarithmic axis from the lower end to `value`.
fn share(value: f64, (low, high): (f64, f64)) -> f64 {
    if high > low { (value / low).log10() / (high / low).log10() } else { 0.5 }
}

/// Whole decades around these values.
fn decades(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) =
        values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    (10_f64.powf(low.log10().floor()), 10_f64.powf(high.log10().ceil()))
}

fn svg(title: &str, points: &[(f64, f64)]) -> String {
    let across = decades(points.iter().map(|point| point.0));
    let up = decades(points.iter().map(|point| point.1));
    let place = |(x, y): &(f64, f64)| {
        let left = MARGIN + share(*x, across) * (WIDTH - 2.0 * MARGIN);
        (left, HEIGHT - MARGIN - share(*y, up) * (HEIGHT - 2.0 * MARGIN))
    };
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">
<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>
<text x="{}" y="24" text-anchor="middle" font-size="14">{title}</text>
"#,
        WIDTH / 2.0
    );
    let line: Vec<String> = points.iter().map(place).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    writeln!(
        svg,
        r##"<polyline points="{}" fill="none" stroke="#326ce5" stroke-width="2"/>"##,
        line.join(" ")
    )
    .unwrap();
    for point in points {
        let (x, y) = place(point);
        writeln!(svg, r##"<circle cx="{x:.1}" cy="{y:.1}" r="4" fill="#326ce5"/>"##).unwrap();
        writeln!(svg, r#"<text x="{x:.1}" y="{:.1}" text-anchor="middle">{}</text>"#, y - 8.0, point.1)
            .unwrap();
        let below = HEIGHT - MARGIN + 20.0;
        writeln!(svg, r#"<text x="{x:.1}" y="{below:.1}" text-anchor="middle">{}</text>"#, point.0).unwrap();
    }
    let below = HEIGHT - 16.0;
    writeln!(svg, r#"<text x="{}" y="{below}" text-anchor="middle">credentials</text>"#, WIDTH / 2.0)
        .unwrap();
    svg + "</svg>\n"
}

/// Writes all plots into a folder.
pub(super) fn write(figures: &Figures, folder: &Path) {
    for (section, name) in PLOTS {
        let points: Vec<_> =
            figures.series(section, name).into_iter().filter(|point| point.1 > 0.0).collect();
        if points.is_empty() {
            continue;
        }
        let title = format!("{section}: {name}");
        let file = title.replace([':', ' '], "-").replace("--", "-") + ".svg";
        std::fs::write(folder.join(file), svg(&title, &points)).unwrap();
    }
}
