//! What a person sees: one screen on a terminal, a line for each piece of news elsewhere.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::{Command, Stdio};

use idissuer::core::time::Moment;
use jiff::{SignedDuration, Unit};

use crate::board::{Board, News, Row, describe, short};
use crate::check::Verdict;
use crate::{Outcome, TOKEN_LIFETIME, say, seconds};

/// News that is kept; more than any screen shows.
const NEWS_KEPT: usize = 200;
/// How long a new token stands out.
const HIGHLIGHT: SignedDuration = SignedDuration::from_millis(1500);
const BAR: usize = 20;
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Where the demo is shown.
pub(crate) struct Screen {
    hints: Vec<String>,
    rotations: Option<u32>,
    news: VecDeque<String>,
    start: Option<Moment>,
    terminal: Option<Terminal>,
}

/// The whole screen of a terminal, given back when dropped.
struct Terminal {
    has_colour: bool,
    has_unicode: bool,
    resized: tokio::signal::unix::Signal,
    size: (usize, usize),
}

impl Screen {
    /// Takes over the terminal, if there is one.
    pub(crate) fn open(hints: Vec<String>, rotations: Option<u32>) -> Outcome<Self> {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let terminal = if io::stdout().is_terminal() && !is_dumb { Some(Terminal::open()?) } else { None };
        Ok(Self { hints, rotations, news: VecDeque::new(), start: None, terminal })
    }

    /// Tells news.
    pub(crate) fn tell(&mut self, news: &[News], now: Moment) {
        let start = self.start.get_or_insert(now).monotonic;
        for News { name, text, .. } in news {
            let line = format!("{:>6}  {name:<11} {text}", seconds(now.monotonic - start));
            if self.terminal.is_none() {
                say(&line);
            }
            self.news.push_back(line);
        }
        let surplus = self.news.len().saturating_sub(NEWS_KEPT);
        self.news.drain(..surplus);
    }

    /// Draws the screen anew, if there is one.
    pub(crate) fn draw(&mut self, board: &Board, now: Moment) -> Outcome {
        let start = self.start.get_or_insert(now).monotonic;
        let Some(terminal) = &mut self.terminal else { return Ok(()) };
        terminal.measure();
        let (rows, columns) = terminal.size;
        let mut lines = vec![title(now.monotonic - start, self.rotations), Line::default(), header()];
        lines.extend(board.rows().map(|(name, row)| terminal.row(name, row, now)));
        lines.push(Line::default());
        let mut footer: Vec<Line> = self.hints.iter().map(|hint| Line::default().dim(hint)).collect();
        footer.push(Line::default().dim("Ctrl-C ends it, and leaves nothing running."));
        let space = rows.saturating_sub(lines.len() + footer.len());
        let old = self.news.len().saturating_sub(space);
        lines.extend(self.news.iter().skip(old).map(|news| Line::default().plain(news)));
        while lines.len() + footer.len() < rows {
            lines.push(Line::default());
        }
        lines.extend(footer);
        lines.truncate(rows);
        terminal.show(&lines, columns)
    }
}

fn title(running: SignedDuration, rotations: Option<u32>) -> Line {
    let end = rotations.map_or_else(String::new, |rotations| format!(" of {rotations} rotations"));
    let title = Line::default().bold("ID Issuer operator");
    let running = running.round(Unit::Second).unwrap_or(running);
    title.plain(&format!("   tokens live {} s   {running:#}{end}", TOKEN_LIFETIME.as_secs()))
}

fn header() -> Line {
    let left = format!("{:<width$}", "TIME LEFT", width = BAR + 6);
    Line::default()
        .dim(&format!("{:<13} {:<13} {:<8} {left} {:<9} ROT", "CREDENTIAL", "TOKEN", "GRANT", "ISSUER"))
}

impl Terminal {
    fn open() -> Outcome<Self> {
        let resized = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::window_change())?;
        let names = ["LC_ALL", "LC_CTYPE", "LANG"];
        let locale = names.iter().filter_map(std::env::var_os).find(|value| !value.is_empty());
        let locale = locale.unwrap_or_default().to_string_lossy().to_lowercase();
        let terminal = Self {
            has_colour: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            has_unicode: locale.contains("utf-8") || locale.contains("utf8"),
            resized,
            size: size(),
        };
        io::stdout().write_all(ENTER.as_bytes())?;
        Ok(terminal)
    }

    /// Looks at the size again after the window has changed.
    fn measure(&mut self) {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        if self.resized.poll_recv(&mut context).is_ready() {
            self.size = size();
        }
    }

    fn row(&self, name: &str, row: &Row, now: Moment) -> Line {
        let line = Line::default().plain(&format!("{name:<13} "));
        let Some(token) = &row.token else {
            return match &row.trouble {
                Some(trouble) => line.red(trouble),
                None => line.dim("no token yet"),
            };
        };
        let is_new = row.since.is_some_and(|since| now.monotonic - since.monotonic < HIGHLIGHT);
        let fingerprint = format!("{:<13} ", short(&token.fingerprint));
        let line = if is_new { line.bold(&fingerprint) } else { line.plain(&fingerprint) };
        let line = line.plain(&format!("{:<8} ", row.grant(token)));
        let expiry = token.expiration_time.0;
        let left = expiry.duration_since(now.wall).max(SignedDuration::ZERO);
        let share = left.div_duration_f64(expiry.duration_since(token.issued_time.0));
        let bar = self.bar(share);
        let line = match share {
            _ if token.renewal_time.0 > now.wall => line.green(&bar),
            share if share > 0.1 => line.yellow(&bar),
            _ => line.red(&bar),
        };
        let line = line.plain(&format!(" {:>3} s ", left.as_secs()));
        let line = match row.verdict {
            Some(Verdict::Accepted) => line.green("accepted "),
            Some(verdict) => line.red(&format!("{:<9}", describe(verdict))),
            None => line.dim("         "),
        };
        line.plain(&format!(" {:>3}", row.rotations))
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of twenty cells"
    )]
    fn bar(&self, share: f64) -> String {
        let full = (share.clamp(0.0, 1.0) * BAR as f64).round() as usize;
        let (on, off) = if self.has_unicode { ("█", "░") } else { ("#", "-") };
        format!("{}{}", on.repeat(full), off.repeat(BAR - full))
    }

    /// One write for the whole frame, so that it does not flicker.
    fn show(&self, lines: &[Line], columns: usize) -> Outcome {
        let mut frame = String::from("\x1b[H");
        for (index, line) in lines.iter().enumerate() {
            if index > 0 {
                frame.push_str("\r\n");
            }
            line.write(&mut frame, columns, self.has_colour);
            frame.push_str("\x1b[K");
        }
        frame.push_str("\x1b[J");
        let mut stdout = io::stdout().lock();
        stdout.write_all(frame.as_bytes())?;
        Ok(stdout.flush()?)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A terminal that has gone needs nothing back.
        let _ = io::stdout().write_all(LEAVE.as_bytes());
        let _ = io::stdout().flush();
    }
}

/// Rows and columns of the terminal. `stty` knows them on every Unix.
fn size() -> (usize, usize) {
    let output = Command::new("stty").arg("size").stdin(Stdio::inherit()).stderr(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let mut numbers = text.split_whitespace().filter_map(|number| number.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(rows), Some(columns)) if rows > 0 && columns > 0 => (rows, columns),
        _ => (24, 80),
    }
}

/// A line of styled pieces, which is cut by what is seen of it.
#[derive(Default)]
struct Line(Vec<(&'static str, String)>);

impl Line {
    fn piece(mut self, style: &'static str, text: &str) -> Self {
        self.0.push((style, text.to_owned()));
        self
    }

    fn plain(self, text: &str) -> Self {
        self.piece("", text)
    }

    fn bold(self, text: &str) -> Self {
        self.piece("1", text)
    }

    fn dim(self, text: &str) -> Self {
        self.piece("2", text)
    }

    fn green(self, text: &str) -> Self {
        self.piece("32", text)
    }

    fn yellow(self, text: &str) -> Self {
        self.piece("33", text)
    }

    fn red(self, text: &str) -> Self {
        self.piece("31", text)
    }

    fn write(&self, frame: &mut String, columns: usize, has_colour: bool) {
        let mut space = columns;
        for (style, text) in &self.0 {
            let text: String = text.chars().take(space).collect();
            space -= text.chars().count();
            // Writing to a String cannot fail.
            let _ = match *style {
                style if has_colour && !style.is_empty() => write!(frame, "\x1b[{style}m{text}\x1b[0m"),
                _ => write!(frame, "{text}"),
            };
        }
    }
}
