//! What a command prints: text with colours on a terminal, or JSON or YAML.

use std::io::Write;

use clap::ValueEnum;
use serde::Serialize;

use super::failure::Failure;

/// The format of data for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// One JSON document
    Json,
    /// One YAML document
    Yaml,
}

/// When to use colours and bars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What a text means, which has a colour on a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    #[default]
    Plain,
    Good,
    Doubtful,
    Bad,
    Title,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "0",
            Self::Good => "32",
            Self::Doubtful => "33",
            Self::Bad => "31",
            Self::Title => "1",
        }
    }
}

/// Where a command prints.
pub struct Screen {
    out: Box<dyn Write + Send>,
    is_decorated: bool,
}

impl Screen {
    /// Prints to `out`, with colours and bars if `is_decorated`.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>, is_decorated: bool) -> Self {
        Self { out, is_decorated }
    }

    /// Whether colours and bars are wanted.
    pub(super) fn is_decorated(&self) -> bool {
        self.is_decorated
    }

    /// The text in the colour of its tone.
    pub(super) fn paint(&self, tone: Tone, text: &str) -> String {
        paint(self.is_decorated, tone, text)
    }

    /// Prints the text, which ends with a line break.
    pub(super) fn print(&mut self, text: &str) -> Result<(), Failure> {
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        written.map_err(|error| Failure::from(format!("print: {error}")))
    }

    /// Prints one line.
    pub(super) fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.print(&format!("{text}\n"))
    }

    /// Prints data for programs.
    pub(super) fn data(&mut self, format: Format, data: &impl Serialize) -> Result<(), Failure> {
        let text = match format {
            Format::Json => {
                serde_json::to_string_pretty(data).map(|text| text + "\n").map_err(|error| error.to_string())
            }
            Format::Yaml => serde_saphyr::to_string(data).map_err(|error| error.to_string()),
        };
        let text = text.map_err(|error| Failure::from(format!("render the output: {error}")))?;
        self.print(&text)
    }

    /// Empties a terminal for the next picture.
    pub(super) fn clear(&mut self) -> Result<(), Failure> {
        if self.is_decorated { self.print("\x1b[H\x1b[2J") } else { Ok(()) }
    }
}

fn paint(is_decorated: bool, tone: Tone, text: &str) -> String {
    if !is_decorated || tone == Tone::Plain || text.is_empty() {
        return text.to_owned();
    }
    format!("\x1b[{}m{text}\x1b[0m", tone.code())
}

/// A table as kubectl prints one: columns of the width of their widest cell, three blanks apart.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<(Tone, String)>>,
}

impl Table {
    pub(super) fn new(titles: &[&str]) -> Self {
        Self { rows: vec![titles.iter().map(|title| (Tone::Title, (*title).to_owned())).collect()] }
    }

    /// Adds a row of as many cells as there are titles.
    pub(super) fn add(&mut self, cells: Vec<(Tone, String)>) {
        self.rows.push(cells);
    }

    /// The text, each line after `indent`.
    pub(super) fn render(&self, screen: &Screen, indent: &str) -> String {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|(_, text)| text.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            text.push_str(indent);
            for (column, (tone, cell)) in row.iter().enumerate() {
                text.push_str(&screen.paint(*tone, cell));
                if column + 1 < row.len() {
                    let blanks = widths.get(column).map_or(0, |width| width - cell.chars().count()) + 3;
                    text.push_str(&" ".repeat(blanks));
                }
            }
            text.push('\n');
        }
        text
    }
}

/// A text in the making, line by line.
#[derive(Debug, Default)]
pub(super) struct Text(String);

impl Text {
    /// Adds a line.
    pub(super) fn line(&mut self, line: impl AsRef<str>) {
        self.0.push_str(line.as_ref());
        self.0.push('\n');
    }

    /// Adds whole lines.
    pub(super) fn lines(&mut self, lines: &str) {
        self.0.push_str(lines);
    }

    /// All of it.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// A cell without a colour.
pub(super) fn plain(text: impl Into<String>) -> (Tone, String) {
    (Tone::Plain, text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(is_decorated: bool) -> Screen {
        Screen::new(Box::new(std::io::sink()), is_decorated)
    }

    #[test]
    fn a_table_is_aligned_with_and_without_colours() {
        let mut table = Table::new(&["NAME", "READY"]);
        table.add(vec![plain("a"), (Tone::Good, "True".to_owned())]);
        table.add(vec![plain("żółty"), (Tone::Bad, "False".to_owned())]);
        assert_eq!(table.render(&screen(false), "  "), "  NAME    READY\n  a       True\n  żółty   False\n");
        let coloured = table.render(&screen(true), "");
        assert!(coloured.contains("\x1b[1mNAME\x1b[0m    "), "{coloured}");
        assert!(coloured.contains("a       \x1b[32mTrue\x1b[0m\n"), "{coloured}");
    }
}
