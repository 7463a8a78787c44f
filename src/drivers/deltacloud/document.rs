//! An XML document as a tree, read the way Deltacloud's own clients read it: by the names of elements, whatever else there
//! is. Pure.
//!
//! Lenient where servers are: text that nobody escaped (`A & B`), names with dashes (before 1.0) instead of underscores,
//! namespaces. Strict in what makes an answer an answer: it must be whole.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::calls::LISTS;
use crate::drivers::reading::{ATTRIBUTES_MAX, DEPTH_MAX, MEMBERS_MAX, pieces_max};

/// An element, with its own text. There are many: they take no more room than they need.
#[derive(PartialEq, Eq)]
pub(super) struct Node {
    name: Arc<str>,
    attributes: Box<[(Arc<str>, Box<str>)]>,
    text: Box<str>,
    children: Box<[Node]>,
}

/// An element of which the end is yet to come.
struct Open {
    name: Arc<str>,
    attributes: Box<[(Arc<str>, Box<str>)]>,
    text: String,
    children: Vec<Node>,
}

impl Open {
    fn close(self) -> Node {
        let Self { name, attributes, text, children } = self;
        Node { name, attributes, text: text.into(), children: children.into() }
    }
}

/// Its name: the rest may hold what opens machines.
impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.name)
    }
}

/// Why a body is not the answer it should be. Of the body it holds at most the name of its root: a stranger's page may say
/// anything.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("the answer is empty")]
    Empty,
    #[error("the answer is not XML, or not all of it")]
    Broken,
    #[error("the answer is <{found}>, not <{expected}>")]
    Other { found: String, expected: &'static str },
    #[error("the answer has more in it than any answer has")]
    TooMuch,
    #[error("the answer is a <{list}> with something else in it than <{member}>")]
    Mixed { list: &'static str, member: &'static str },
    #[error("the answer is about a <{0}> without an id")]
    Nameless(&'static str),
    #[error("the answer is about another <{0}> than the one asked for")]
    Stranger(&'static str),
}

/// Different names of elements and attributes in one document. Deltacloud's own have fifty.
const NAMES_MAX: usize = 512;

/// Characters of a root's name that are shown.
const NAME_SHOWN_MAX: usize = 24;

impl Node {
    /// The one root element of a whole document.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(body).map_err(|_| Malformed::Broken)?;
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() {
            return Err(Malformed::Empty);
        }
        Tree { names: HashSet::new(), pieces: 0, pieces_max: pieces_max(text.len()) }.read(text)
    }

    pub(super) fn is(&self, name: &str) -> bool {
        &*self.name == name
    }

    /// # Errors
    /// [`Malformed::Other`]
    pub(super) fn named(self, expected: &'static str) -> Result<Self, Malformed> {
        if self.is(expected) {
            return Ok(self);
        }
        let plain = |char: &char| char.is_ascii_alphanumeric() || *char == '_';
        Err(Malformed::Other { found: self.name.chars().filter(plain).take(NAME_SHOWN_MAX).collect(), expected })
    }

    /// What the root of a list has in it, which are its members and nothing else.
    pub(super) fn into_members(self, list: &'static str, member: &'static str) -> Result<Vec<Self>, Malformed> {
        let Self { children, text, .. } = self.named(list)?;
        if children.iter().any(|child| !child.is(member)) || !text.trim().is_empty() {
            return Err(Malformed::Mixed { list, member });
        }
        Ok(children.into_vec())
    }

    /// Empty is as good as none.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        let value = self.attributes.iter().find(|(key, _)| **key == *name).map(|(_, value)| value.trim())?;
        Some(value).filter(|value| !value.is_empty())
    }

    /// The first of that name.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.is(name))
    }

    /// In whatever is called `within`, all that are called `name`.
    pub(super) fn all<'a>(&'a self, within: &'a str, name: &'a str) -> impl Iterator<Item = &'a Self> {
        let within = self.children.iter().filter(move |child| child.is(within));
        within.flat_map(|list| list.children.iter()).filter(move |child| child.is(name))
    }

    pub(super) fn each<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.is(name))
    }

    /// Without white space around it.
    pub(super) fn text(&self) -> &str {
        self.text.trim()
    }

    /// The text of a child; an empty one is as good as none.
    pub(super) fn said(&self, name: &str) -> Option<&str> {
        Some(self.child(name)?.text()).filter(|text| !text.is_empty())
    }

    pub(super) fn said_owned(&self, name: &str) -> Option<String> {
        self.said(name).map(str::to_owned)
    }

    /// The id of what a child refers to.
    pub(super) fn reference(&self, name: &str) -> Option<String> {
        self.child(name)?.attribute("id").map(str::to_owned)
    }

    /// Its own id. Every client wants it as attribute; some servers have it as an element beside.
    pub(super) fn id(&self) -> Option<&str> {
        self.attribute("id").or_else(|| self.said("id"))
    }
}

/// A document on the way to a tree.
struct Tree {
    /// Each is kept once.
    names: HashSet<Arc<str>>,
    pieces: usize,
    pieces_max: usize,
}

impl Tree {
    fn read(mut self, text: &str) -> Result<Node, Malformed> {
        let mut reader = Reader::from_str(text);
        reader.config_mut().allow_dangling_amp = true;
        let mut open: Vec<Open> = Vec::new();
        let mut root: Option<Node> = None;
        loop {
            let closed = match reader.read_event().map_err(|_| Malformed::Broken)? {
                Event::Start(_) if open.len() == DEPTH_MAX || root.is_some() => return Err(Malformed::Broken),
                Event::Start(start) => {
                    let node = self.node(&start)?;
                    fits(&open, &node)?;
                    open.push(node);
                    None
                }
                Event::Empty(start) => {
                    let node = self.node(&start)?;
                    fits(&open, &node)?;
                    Some(node)
                }
                Event::End(_) => Some(open.pop().ok_or(Malformed::Broken)?),
                Event::Text(text) => said(&mut open, text.as_ref())?,
                Event::CData(text) => said(&mut open, text.as_ref())?,
                Event::GeneralRef(reference) => said(&mut open, &resolved(reference.as_ref()))?,
                Event::Eof => return root.filter(|_| open.is_empty()).ok_or(Malformed::Broken),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => None,
            };
            match (closed.map(Open::close), open.last_mut()) {
                (None, _) => {}
                (Some(_), Some(parent)) if parent.children.len() == MEMBERS_MAX => return Err(Malformed::TooMuch),
                (Some(node), Some(parent)) => parent.children.push(node),
                (Some(_), None) if root.is_some() => return Err(Malformed::Broken),
                (Some(node), None) => root = Some(node),
            }
        }
    }

    fn node(&mut self, start: &BytesStart) -> Result<Open, Malformed> {
        self.count()?;
        let mut attributes = Vec::new();
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|_| Malformed::Broken)?;
            self.count()?;
            if attributes.len() == ATTRIBUTES_MAX {
                return Err(Malformed::TooMuch);
            }
            let name = self.name(attribute.key.local_name().as_ref())?;
            attributes.push((name, unescaped(&attribute.value).into()));
        }
        let name = self.name(start.local_name().as_ref())?;
        Ok(Open { name, attributes: attributes.into(), text: String::new(), children: Vec::new() })
    }

    fn count(&mut self) -> Result<(), Malformed> {
        self.pieces += 1;
        if self.pieces > self.pieces_max { Err(Malformed::TooMuch) } else { Ok(()) }
    }

    fn name(&mut self, name: &str) -> Result<Arc<str>, Malformed> {
        let plain = if name.contains('-') { Cow::from(name.replace('-', "_")) } else { Cow::from(name) };
        if let Some(known) = self.names.get(&*plain) {
            return Ok(known.clone());
        }
        if self.names.len() == NAMES_MAX {
            return Err(Malformed::TooMuch);
        }
        let new: Arc<str> = plain.into();
        self.names.insert(new.clone());
        Ok(new)
    }
}

/// What begins in the root of a list must be a member: what comes after the first that is none is not read.
fn fits(open: &[Open], node: &Open) -> Result<(), Malformed> {
    let [root] = open else { return Ok(()) };
    match LISTS.iter().find(|list| *root.name == *list.plural) {
        Some(list) if *node.name != *list.singular => {
            Err(Malformed::Mixed { list: list.plural, member: list.singular })
        }
        _ => Ok(()),
    }
}

/// [`Malformed::Broken`]: text outside of the root.
fn said(open: &mut [Open], text: &str) -> Result<Option<Open>, Malformed> {
    match open.last_mut() {
        Some(node) => node.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return Err(Malformed::Broken),
    }
    Ok(None)
}

/// As XML means it, and as it stands where XML does not know it: Deltacloud's servers do not escape.
fn resolved(reference: &str) -> String {
    let number = reference.strip_prefix('#').and_then(|number| match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => number.parse().ok(),
    });
    match (reference, number.and_then(char::from_u32)) {
        (_, Some(char)) => char.to_string(),
        ("amp", _) => "&".to_owned(),
        ("lt", _) => "<".to_owned(),
        ("gt", _) => ">".to_owned(),
        ("quot", _) => "\"".to_owned(),
        ("apos", _) => "'".to_owned(),
        _ => format!("&{reference};"),
    }
}

/// Letters and digits between `&` and `;`, at most.
const REFERENCE_LENGTH_MAX: usize = 10;

fn unescaped(text: &str) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (before, from) = rest.split_at(at);
        whole.push_str(before);
        let reference = from[1..].split_once(';').map(|(name, _)| name).filter(|name| {
            name.len() <= REFERENCE_LENGTH_MAX && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'#')
        });
        match reference {
            Some(name) => {
                whole.push_str(&resolved(name));
                rest = &from[name.len() + 2..];
            }
            None => {
                whole.push('&');
                rest = &from[1..];
            }
        }
    }
    whole + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = include_str!("replies/instances.xml");

    #[test]
    fn a_list_cut_anywhere_is_an_error_and_never_a_shorter_list() {
        let whole = LIST.trim_end();
        assert_eq!(members(whole).expect("whole").len(), 4);
        for at in (0..whole.len()).filter(|at| whole.is_char_boundary(*at)) {
            assert!(members(&whole[..at]).is_err(), "cut at {at}");
        }
    }

    fn members(text: &str) -> Result<Vec<Node>, Malformed> {
        Node::parse(text.as_bytes())?.into_members("instances", "instance")
    }

    #[test]
    fn what_is_no_list_of_instances_says_so() {
        let check = |text: &str, said: &str| {
            let error = members(text).expect_err(text);
            assert_eq!(error.to_string(), said, "{text}");
        };
        check("", "the answer is empty");
        check(" \n", "the answer is empty");
        check("Welcome!", "the answer is not XML, or not all of it");
        check("{\"instances\":[]}", "the answer is not XML, or not all of it");
        check("<html><body>Sign in</body></html>", "the answer is <html>, not <instances>");
        check("<!DOCTYPE html><html/>", "the answer is <html>, not <instances>");
        check("<instance id='i'/>", "the answer is <instance>, not <instances>");
        check("<instances/><instances/>", "the answer is not XML, or not all of it");
        check("<instances/>trailing", "the answer is not XML, or not all of it");
        check("<instances></instance>", "the answer is not XML, or not all of it");
        check("<a><b></a></b>", "the answer is not XML, or not all of it");
        check(
            "<instances><error status='500'/></instances>",
            "the answer is a <instances> with something else in it than <instance>",
        );
        check(
            "<instances>down for maintenance</instances>",
            "the answer is a <instances> with something else in it than <instance>",
        );
        let deep = format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000));
        check(&deep, "the answer is not XML, or not all of it");
        let latin = Node::parse(b"<instances>\xe9</instances>");
        assert_eq!(latin, Err(Malformed::Broken));
    }

    #[test]
    fn what_is_large_as_a_tree_is_not_read_to_its_end() {
        let check = |text: String, expected: Malformed| {
            assert_eq!(Node::parse(text.as_bytes()).expect_err("too much"), expected, "{}", &text[..40]);
        };
        let many = |piece: &str| piece.repeat(200_000);
        let mixed = Malformed::Mixed { list: "instances", member: "instance" };
        check(format!("<instances>{}</instances>", many("<i/>")), mixed);
        // At the first one: what comes after it is not even well formed.
        check("<instances><i/><<</instances>".to_owned(), Malformed::Mixed { list: "instances", member: "instance" });
        check(format!("<instances>{}</instances>", many("<instance/>")), Malformed::TooMuch);
        let wide = format!("<instance id='{}'/>", "x".repeat(80));
        check(format!("<instances>{}</instances>", wide.repeat(MEMBERS_MAX + 1)), Malformed::TooMuch);
        check(format!("<x>{}</x>", many("<i/>")), Malformed::TooMuch);
        let attributes: String = (0..200_000).map(|number| format!(" a{number}=''")).collect();
        check(format!("<instances{attributes}/>"), Malformed::TooMuch);
        let names: String = (0..1_000).map(|number| format!("<an_element_{number}/>")).collect();
        check(format!("<x>{names}</x>"), Malformed::TooMuch);
    }

    #[test]
    fn a_long_list_is_read() {
        let one = LIST.split_once("<instance ").and_then(|(_, rest)| rest.split_once("</instance>")).expect("one").0;
        let list = format!("<instances>{}</instances>", format!("<instance {one}</instance>").repeat(10_000));
        assert_eq!(members(&list).expect("whole").len(), 10_000);
    }

    #[test]
    fn an_empty_list_is_one() {
        for text in ["<instances/>", "<instances></instances>", "<?xml version='1.0'?>\n<instances>\n</instances>\n"] {
            assert_eq!(members(text), Ok(vec![]), "{text}");
        }
    }

    #[test]
    fn text_that_nobody_escaped_is_read_as_it_was_meant() {
        let check = |text: &str, name: &str, id: &str| {
            let node = Node::parse(text.as_bytes()).expect(text);
            assert_eq!((node.said("name"), node.attribute("id")), (Some(name), Some(id)), "{text}");
        };
        check("<i id='a&amp;b'><name>A &amp; &lt;P&gt; &#65;&#x42;</name></i>", "A & <P> AB", "a&b");
        check("<i id='a&b=c'><name>A & B</name></i>", "A & B", "a&b=c");
        check("<i id='&;'><name>R&D; &nbsp;x &</name></i>", "R&D; &nbsp;x &", "&;");
        check("<i id='x'><name><![CDATA[ A & <P> ]]></name></i>", "A & <P>", "x");
        check("<d:i xmlns:d='u' id='x'><d:name>\n  web\n</d:name></d:i>", "web", "x");
    }

    #[test]
    fn names_of_old_servers_are_read_as_todays() {
        let node =
            Node::parse(b"<i><hardware-profile id='m1'/><owner-id/><a><b>1</b><c/><b>2</b></a></i>").expect("whole");
        assert_eq!(node.reference("hardware_profile").as_deref(), Some("m1"));
        assert_eq!((node.child("owner_id").is_some(), node.said("owner_id")), (true, None));
        let all: Vec<&str> = node.all("a", "b").map(Node::text).collect();
        assert_eq!(all, ["1", "2"]);
    }
}
