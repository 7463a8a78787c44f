//! One event, one line, whatever it quotes: ids, names and a provider's words come from outside.

use std::fmt;

use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};

/// The fields and messages of events and spans, as `tracing_subscriber` writes them, with everything escaped that would begin
/// a line or command a terminal. For the text form; JSON escapes by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct OneLine;

impl<'writer> FormatFields<'writer> for OneLine {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut said = String::new();
        DefaultFields::new().format_fields(Writer::new(&mut said), fields)?;
        for char in said.chars() {
            match char {
                '\n' => writer.write_str("\\n")?,
                '\r' => writer.write_str("\\r")?,
                '\t' => writer.write_str("\\t")?,
                char if commands(char) => write!(writer, "{}", char.escape_unicode())?,
                char => writer.write_char(char)?,
            }
        }
        Ok(())
    }
}

/// Control characters, C1 and DEL among them, and those that change the direction or the line of what follows.
pub(crate) fn commands(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Without control characters: a name in a cloud must not command the terminal, nor turn the line around.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|char| if commands(char) { '\u{fffd}' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing::{info, info_span};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_comes_from_outside_neither_begins_a_line_nor_commands_the_terminal() {
        let id = "x\ny\r\t\0\u{1}\u{1b}[2J\u{7f}\u{85}\u{9b}\u{2028}\u{2029}\u{202e}\u{2066}é";
        let logged = |ansi: bool| {
            let kept = Kept::default();
            let writer = kept.clone();
            let subscriber =
                tracing_subscriber::fmt().fmt_fields(OneLine).with_ansi(ansi).with_writer(move || writer.clone());
            tracing::subscriber::with_default(subscriber.finish(), || {
                let span = info_span!("poll.account", id = %id, realm = id);
                let _entered = span.enter();
                info!(instance.id = %id, quoted = id, "{id} RUNNING -> STOPPED");
            });
            String::from_utf8(kept.0.lock().unwrap().clone()).unwrap()
        };
        let plain = logged(false);
        let line = plain.strip_suffix('\n').expect("a line");
        assert!(!line.contains(commands), "{line:?}");
        assert!(
            line.contains("x\\ny\\r\\t\\u{0}\\u{1}") && line.contains("\\u{2028}\\u{2029}\\u{202e}\\u{2066}é"),
            "{line}"
        );
        assert!(line.contains("é RUNNING -> STOPPED"), "{line}");
        let coloured = logged(true);
        assert_eq!(coloured.matches('\n').count(), 1, "{coloured:?}");
        assert!(!coloured.contains("\u{1b}[2J") && !coloured.contains('\u{202e}'), "{coloured:?}");
    }
}
