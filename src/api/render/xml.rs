//! Writes XML: UTF-8, two spaces of indentation, single-quoted attributes, no namespaces, everything escaped.

use std::borrow::Cow;

/// An XML document in the making. Elements are closed by construction.
pub(in crate::api) struct Xml {
    out: String,
    depth: usize,
}

type Attributes<'a> = &'a [(&'a str, &'a str)];

impl Xml {
    pub(super) fn new() -> Self {
        Self { out: "<?xml version='1.0' encoding='utf-8' ?>\n".to_owned(), depth: 0 }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.out.into_bytes()
    }

    /// An element with children only.
    pub(in crate::api) fn element(&mut self, name: &str, attributes: Attributes, children: impl FnOnce(&mut Self)) {
        self.open(name, attributes);
        self.out.push_str(">\n");
        let start = self.out.len();
        self.depth += 1;
        children(self);
        self.depth -= 1;
        if self.out.len() == start {
            self.out.pop();
        } else {
            self.indent();
        }
        self.close(name);
    }

    /// An element with text only, and no white space around it.
    pub(in crate::api) fn text(&mut self, name: &str, attributes: Attributes, text: &str) {
        self.open(name, attributes);
        self.out.push('>');
        self.out.push_str(&escaped(text, false));
        self.close(name);
    }

    pub(in crate::api) fn empty(&mut self, name: &str, attributes: Attributes) {
        self.open(name, attributes);
        self.out.push_str(" />\n");
    }

    fn open(&mut self, name: &str, attributes: Attributes) {
        self.indent();
        self.out.push('<');
        self.out.push_str(name);
        for (key, value) in attributes {
            self.out.push(' ');
            self.out.push_str(key);
            self.out.push_str("='");
            self.out.push_str(&escaped(value, true));
            self.out.push('\'');
        }
    }

    fn close(&mut self, name: &str) {
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push_str(">\n");
    }

    fn indent(&mut self) {
        self.out.extend(std::iter::repeat_n("  ", self.depth));
    }
}

/// White space in attributes is escaped as well, as a parser would turn it into blanks. Characters that XML cannot hold
/// at all, not even escaped, become U+FFFD.
fn escaped(text: &str, attribute: bool) -> Cow<'_, str> {
    let plain = |byte: u8| !matches!(byte, b'<' | b'>' | b'&' | b'\'' | 0..=0x1f | 0xef);
    if text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\'' if attribute => out.push_str("&#39;"),
            '\t' if attribute => out.push_str("&#9;"),
            '\n' if attribute => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            '\t' | '\n' => out.push(character),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            _ => out.push(character),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use quick_xml::Reader;
    use quick_xml::events::Event;

    use super::*;

    #[test]
    fn it_is_written_like_this() {
        let mut xml = Xml::new();
        xml.element("a", &[("x", "1 < '2'\n"), ("y", "")], |xml| {
            xml.text("b", &[], "A & <P> 'q'");
            xml.element("c", &[], |_| {});
            xml.element("d", &[], |xml| xml.empty("e", &[("z", "\u{1}ä")]));
        });
        insta::assert_snapshot!(String::from_utf8(xml.into_bytes()).unwrap(), @r#"
        <?xml version='1.0' encoding='utf-8' ?>
        <a x='1 &lt; &#39;2&#39;&#10;' y=''>
          <b>A &amp; &lt;P&gt; 'q'</b>
          <c></c>
          <d>
            <e z='�ä' />
          </d>
        </a>
        "#);
    }

    proptest! {
        #[test]
        fn any_text_comes_back_from_a_parser(text in "\\PC*|[<>&'\" \t\na]*") {
            let mut xml = Xml::new();
            xml.element("a", &[], |xml| xml.text("b", &[("x", &text)], &text));
            let written = String::from_utf8(xml.into_bytes()).unwrap();
            let mut reader = Reader::from_str(&written);
            let (mut inside, mut read, mut attribute) = (false, String::new(), String::new());
            loop {
                match reader.read_event().unwrap() {
                    Event::Start(start) if start.name().as_ref() == "b" => {
                        inside = true;
                        let value = start.attributes().next().unwrap().unwrap();
                        attribute = quick_xml::escape::unescape(&value.value).unwrap().into_owned();
                    }
                    Event::Text(piece) if inside => read.push_str(&piece),
                    Event::GeneralRef(name) if inside => {
                        read.push_str(&quick_xml::escape::unescape(&format!("&{};", &*name)).unwrap());
                    }
                    Event::End(end) if end.name().as_ref() == "b" => inside = false,
                    Event::Eof => break,
                    _ => {}
                }
            }
            prop_assert_eq!(&read, &text);
            prop_assert_eq!(&attribute, &text);
        }
    }
}
