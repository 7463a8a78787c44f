//! What is written to stdout: tables, colours, and what control characters become. Pure but for [`write`].

use std::io::{IsTerminal as _, Write as _};

use clap::ValueEnum;

use super::failure::Failure;
use crate::log::commands;
pub(super) use crate::log::harmless;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    #[default]
    Table,
    /// One JSON document; when following, one object a line
    Json,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Colours {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    Always,
    Never,
}

impl Colours {
    pub(super) fn on_stdout(self) -> bool {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        self.decide(std::io::stdout().is_terminal() && !dumb, set("NO_COLOR"))
    }

    fn decide(self, terminal: bool, no_color: bool) -> bool {
        match self {
            Self::Auto => terminal && !no_color,
            Self::Always => true,
            Self::Never => false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Strong,
    Good,
    Bad,
    Faint,
}

/// A text in a colour. What comes from outside is made harmless here.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(super) fn new(text: impl AsRef<str>, tone: Tone) -> Self {
        Self { text: harmless(text.as_ref()), tone }
    }

    pub(super) fn plain(text: impl AsRef<str>) -> Self {
        Self::new(text, Tone::Plain)
    }

    pub(super) fn shown(&self, colours: bool) -> String {
        let start = match self.tone {
            _ if !colours => return self.text.clone(),
            Tone::Plain => return self.text.clone(),
            Tone::Strong => "\x1b[1m",
            Tone::Good => "\x1b[32m",
            Tone::Bad => "\x1b[31m",
            Tone::Faint => "\x1b[2m",
        };
        format!("{start}{}\x1b[0m", self.text)
    }
}

/// JSON that means the same, and shows on a terminal what it is.
pub(super) fn harmless_json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        // Outside of its texts JSON has no control characters but these.
        if commands(c) && !matches!(c, '\n' | '\r' | '\t') {
            shown.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Columns as wide as their widest cell, two spaces between.
pub(super) fn table(head: &[&str], rows: Vec<Vec<Cell>>, colours: bool) -> String {
    let mut lines = vec![head.iter().map(|name| Cell::new(name, Tone::Strong)).collect()];
    lines.extend(rows);
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line: &Vec<Cell>| line.get(column));
        cells.map(|cell| cell.text.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        for (column, cell) in line.iter().enumerate() {
            text.push_str(&cell.shown(colours));
            if column + 1 < line.len() {
                let room = widths.get(column).copied().unwrap_or(0) + 2 - cell.text.chars().count();
                text.extend(std::iter::repeat_n(' ', room));
            }
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    text
}

/// Writes to stdout at once.
pub(super) fn write(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|err| match err.kind() {
        std::io::ErrorKind::BrokenPipe => Failure::enough(),
        _ => Failure::failed(format!("stdout cannot be written: {err}")),
    })
}

/// A JSON text, shown as what it is.
pub(super) fn write_json(text: &str) -> Result<(), Failure> {
    write(&harmless_json(&format!("{text}\n")))
}

/// A remark beside the output.
pub(super) fn note(text: &str) {
    // A stderr that is closed is nobody's loss; `eprintln` would panic.
    let _ = writeln!(std::io::stderr(), "{}", harmless(text));
}

/// Something that takes long says how far it is, on a terminal only.
pub(super) struct Progress(bool);

impl Progress {
    pub(super) fn new() -> Self {
        Self(std::io::stderr().is_terminal())
    }

    pub(super) fn at(&self, text: &str) {
        if self.0 {
            let _ = write!(std::io::stderr(), "\r\x1b[K{text}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.0 {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let rows = vec![
            vec![Cell::plain("a"), Cell::new("RUNNING", Tone::Good), Cell::plain("x")],
            vec![Cell::plain("long one"), Cell::new("GONE", Tone::Bad), Cell::plain("")],
        ];
        let expected = "ID        STATE    NAME\na         RUNNING  x\nlong one  GONE\n";
        assert_eq!(table(&["ID", "STATE", "NAME"], rows.clone(), false), expected);
        let coloured = table(&["ID", "STATE", "NAME"], rows, true);
        assert!(coloured.contains("\x1b[32mRUNNING\x1b[0m  x"), "{coloured}");
    }

    #[test]
    fn colours_are_for_terminals() {
        let check = |colours: Colours, terminal, no_color, expected| {
            assert_eq!(colours.decide(terminal, no_color), expected, "{colours:?} {terminal} {no_color}");
        };
        check(Colours::Auto, true, false, true);
        check(Colours::Auto, true, true, false);
        check(Colours::Auto, false, false, false);
        check(Colours::Always, false, true, true);
        check(Colours::Never, true, false, false);
    }

    #[test]
    fn names_do_not_command_the_terminal() {
        assert_eq!(harmless("web\x1b[2J\n1"), "web\u{fffd}[2J\u{fffd}1");
        assert_eq!(harmless("a\u{9b}b\u{7f}c\u{202e}d\u{2066}é"), "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}é");
        let text = "{\"name\":\"a\u{9b}2J\u{7f}\u{202e}é\"}\n";
        let shown = harmless_json(text);
        assert_eq!(shown, "{\"name\":\"a\\u009b2J\\u007f\\u202eé\"}\n");
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&shown), value(text));
    }
}
