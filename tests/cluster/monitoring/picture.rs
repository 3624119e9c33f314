//! A picture of the dashboard, drawn of what its queries return. Not as Grafana draws it, but with the same panels.

use std::fmt::Write as _;

use serde_json::Value;

use super::{Prometheus, understood};

/// The size of one unit of the dashboard's grid, which is 24 units wide.
const UNIT: (f64, f64) = (50.0, 26.0);
const COLOURS: [&str; 8] =
    ["#326ce5", "#d9480f", "#2b8a3e", "#862e9c", "#e8590c", "#0b7285", "#c2255c", "#5c940d"];
/// How many names of lines fit below a panel.
const NAMES: usize = 4;

/// A line of a panel: its name, and values at times.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

/// Where something is drawn.
#[derive(Clone, Copy)]
struct Area {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

/// Draws all panels over this time.
pub(super) async fn draw(prometheus: &Prometheus, dashboard: &Value, time: (f64, f64)) -> String {
    let panels = dashboard["panels"].as_array().unwrap();
    let at = |panel: &Value, name: &str| panel["gridPos"][name].as_f64().unwrap();
    let bottom = panels.iter().map(|panel| at(panel, "y") + at(panel, "h")).fold(0.0, f64::max);
    let (width, height) = (24.0 * UNIT.0, bottom * UNIT.1);
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11" fill="#222">
<rect width="{width}" height="{height}" fill="#f4f5f5"/>
"##
    );
    for panel in panels {
        let area = Area {
            left: at(panel, "x") * UNIT.0 + 4.0,
            top: at(panel, "y") * UNIT.1 + 4.0,
            width: at(panel, "w") * UNIT.0 - 8.0,
            height: at(panel, "h") * UNIT.1 - 8.0,
        };
        let title = panel["title"].as_str().unwrap();
        if panel["type"] == "row" {
            text(&mut svg, (area.left, area.top + 14.0), 15, title);
            continue;
        }
        let Area { left, top, width, height } = area;
        writeln!(
            svg,
            r##"<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="white" stroke="#ddd"/>"##
        )
        .unwrap();
        text(&mut svg, (left + 8.0, top + 16.0), 12, title);
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap_or_default();
        match panel["type"].as_str() {
            Some("timeseries") => {
                draw_lines(&mut svg, area, unit, time, &lines(prometheus, panel, time).await);
            }
            Some("stat") => {
                let shown = lines(prometheus, panel, (time.1, time.1)).await;
                let value = shown.first().and_then(|line| line.points.last()).map(|point| point.1);
                let value = value.map_or_else(|| "no data".to_owned(), |value| number(value, unit));
                text(&mut svg, (left + 8.0, top + 60.0), 30, &value);
            }
            _ => {
                let rows = lines(prometheus, panel, (time.1, time.1)).await;
                for (index, row) in (0_u8..).zip(rows.iter().take(8)) {
                    text(&mut svg, (left + 8.0, top + 40.0 + 18.0 * f64::from(index)), 11, &row.name);
                }
            }
        }
    }
    svg + "</svg>\n"
}

/// What the queries of a panel return over a time, without lines that stay at 0 beside others.
async fn lines(prometheus: &Prometheus, panel: &Value, (start, end): (f64, f64)) -> Vec<Line> {
    let mut lines = Vec::new();
    for target in panel["targets"].as_array().into_iter().flatten() {
        let query = understood(target["expr"].as_str().unwrap());
        let (start, end) = (start.to_string(), end.to_string());
        let parameters = [("query", query.as_str()), ("start", &start), ("end", &end), ("step", "3")];
        let answer = prometheus.get("/api/v1/query_range", &parameters).await;
        for series in answer["data"]["result"].as_array().unwrap() {
            let labels = series["metric"].as_object().unwrap();
            let mut name = target["legendFormat"].as_str().unwrap_or_default().to_owned();
            if name.is_empty() {
                let shown = labels.iter().filter(|(key, _)| key.as_str() != "job");
                name = shown
                    .map(|(key, value)| format!("{key} {}", value.as_str().unwrap()))
                    .collect::<Vec<_>>()
                    .join("   ");
            }
            for (key, value) in labels {
                name = name.replace(&format!("{{{{{key}}}}}"), value.as_str().unwrap());
            }
            let point = |point: &Value| Some((point[0].as_f64()?, point[1].as_str()?.parse().ok()?));
            let points = series["values"].as_array().unwrap().iter().filter_map(point);
            lines.push(Line {
                name,
                points: points.filter(|point: &(f64, f64)| point.1.is_finite()).collect(),
            });
        }
    }
    let is_moving = |line: &Line| line.points.iter().any(|point| point.1 != 0.0);
    if lines.iter().any(is_moving) {
        lines.retain(is_moving);
    }
    lines
}

fn draw_lines(svg: &mut String, area: Area, unit: &str, (start, end): (f64, f64), lines: &[Line]) {
    let inner = Area {
        left: area.left + 52.0,
        top: area.top + 28.0,
        width: area.width - 62.0,
        height: area.height - 60.0,
    };
    let values = lines.iter().flat_map(|line| &line.points).map(|point| point.1);
    let (low, high) = values.fold((0.0_f64, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
    let high = if high > low { high } else { low + 1.0 };
    let place = |(time, value): &(f64, f64)| {
        let across = inner.left + (time - start) / (end - start) * inner.width;
        (across, inner.top + (high - value) / (high - low) * inner.height)
    };
    for value in [low, f64::midpoint(low, high), high] {
        let (right, y) = place(&(end, value));
        writeln!(
            svg,
            r##"<line x1="{}" y1="{y:.1}" x2="{right}" y2="{y:.1}" stroke="#e5e5e5"/>"##,
            inner.left
        )
        .unwrap();
        text(svg, (area.left + 6.0, y + 4.0), 10, &number(value, unit));
    }
    let names = area.top + area.height - 10.0;
    for (index, line) in lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let points: Vec<_> = line.points.iter().map(place).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        writeln!(
            svg,
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="1.5"/>"#,
            points.join(" ")
        )
        .unwrap();
        if index < NAMES {
            let share = area.width / f64::from(u8::try_from(lines.len().min(NAMES)).unwrap());
            let left = area.left + 8.0 + share * f64::from(u8::try_from(index).unwrap());
            writeln!(
                svg,
                r#"<rect x="{left:.1}" y="{}" width="8" height="8" fill="{colour}"/>"#,
                names - 8.0
            )
            .unwrap();
            let room = if area.width > 500.0 { 24 } else { 15 };
            text(svg, (left + 11.0, names), 10, &line.name.chars().take(room).collect::<String>());
        }
    }
}

fn text(svg: &mut String, (x, y): (f64, f64), size: u8, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    writeln!(svg, r#"<text x="{x:.1}" y="{y:.1}" font-size="{size}">{words}</text>"#).unwrap();
}

fn number(value: f64, unit: &str) -> String {
    let digits = if value.abs() >= 100.0 || value.fract() == 0.0 { 0 } else { 2 };
    match unit {
        "s" => format!("{value:.digits$} s"),
        "percentunit" => format!("{:.0} %", value * 100.0),
        "ops" | "reqps" => format!("{value:.digits$}/s"),
        _ => format!("{value:.digits$}"),
    }
}
