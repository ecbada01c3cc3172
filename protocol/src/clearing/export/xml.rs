//! As much of XML as a message needs: elements with attributes, text or children, escaped.

use std::borrow::Cow;
use std::fmt::Write as _;

/// An element with text or children.
#[derive(Clone, Debug)]
pub(super) struct Element {
    name: &'static str,
    attributes: Vec<(&'static str, &'static str)>,
    text: String,
    children: Vec<Element>,
}

impl Element {
    pub(super) const fn parent(name: &'static str) -> Self {
        Self { name, attributes: Vec::new(), text: String::new(), children: Vec::new() }
    }
    pub(super) fn text(name: &'static str, text: &str) -> Self {
        Self { text: text.to_owned(), ..Self::parent(name) }
    }
    pub(super) fn attribute(mut self, name: &'static str, value: &'static str) -> Self {
        self.attributes.push((name, value));
        self
    }
    pub(super) fn with(mut self, child: Self) -> Self {
        self.children.push(child);
        self
    }
    pub(super) fn with_text(self, name: &'static str, text: &str) -> Self {
        self.with(Self::text(name, text))
    }
    pub(super) fn with_all(mut self, children: impl IntoIterator<Item = Self>) -> Self {
        self.children.extend(children);
        self
    }

    fn write(&self, depth: usize, out: &mut String) {
        let indent = "  ".repeat(depth);
        let _ = write!(out, "{indent}<{}", self.name);
        for (name, value) in &self.attributes {
            let _ = write!(out, " {name}=\"{}\"", escaped(value));
        }
        out.push('>');
        if self.children.is_empty() {
            out.push_str(&escaped(&self.text));
        } else {
            out.push('\n');
            self.children.iter().for_each(|child| child.write(depth.saturating_add(1), out));
            out.push_str(&indent);
        }
        let _ = writeln!(out, "</{}>", self.name);
    }
}

/// A message: its one root is `Document` in the message's namespace.
pub(super) fn document(namespace: &'static str, body: Element) -> Vec<u8> {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    Element::parent("Document").attribute("xmlns", namespace).with(body).write(0, &mut out);
    out.into_bytes()
}

fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            other => out.push(other),
        }
    }
    Cow::Owned(out)
}
