//! The manifest as a tree of texts, each with its span. Nothing is interpreted here.

use std::cmp::Ordering;

use granit_parser::{ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError, StrInput};

use crate::{
    problem::{Place, Problem, Span},
    scan::{self, Written},
};

/// Something and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Spot<T> {
    pub value: T,
    pub span: Span,
}

/// What stands somewhere.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Text(String),
    List(Vec<Spot<Node>>),
    Map(Pairs),
}

/// The pairs of a map in order, repeated keys included.
pub(crate) type Pairs = Vec<(Spot<String>, Spot<Node>)>;

const NODES_MAX: usize = 2_000;
const DEPTH_MAX: usize = 8;

/// Reads YAML that has passed the scan. `None` where it ends in the middle; why is among the problems.
pub(crate) fn read_yaml(text: &str, problems: &mut Vec<Problem>) -> Option<Pairs> {
    match read_node(text, problems)? {
        Spot { value: Node::Map(pairs), .. } => Some(pairs),
        other => {
            problems.push(no_map(other.span));
            None
        }
    }
}

/// Reads any YAML that consists of texts, lists and maps.
fn read_node(text: &str, problems: &mut Vec<Problem>) -> Option<Spot<Node>> {
    let events = Parser::new_from_str_with_options(text, options());
    let mut reader = Reader { events, text, nodes: 0, problems };
    match reader.document() {
        Ok(root) => Some(root),
        Err(stopped) => {
            problems.push(stopped);
            None
        }
    }
}

/// Reads the canonical body's JSON into the same tree. Its places are all 1:1: nobody edits it.
pub(crate) fn read_json(bytes: &[u8]) -> Option<Pairs> {
    use serde_json::Value;

    fn node(value: Value, left: &mut usize) -> Option<Spot<Node>> {
        *left = left.checked_sub(1)?;
        let value = match value {
            Value::String(text) => Node::Text(text),
            Value::Array(all) => {
                Node::List(all.into_iter().map(|value| node(value, left)).collect::<Option<_>>()?)
            }
            Value::Object(map) => {
                let mut pairs = Pairs::new();
                for (key, value) in map {
                    *left = left.checked_sub(1)?;
                    pairs.push((Spot { value: key, span: Span::START }, node(value, left)?));
                }
                Node::Map(pairs)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => return None,
        };
        Some(Spot { value, span: Span::START })
    }
    let mut left = NODES_MAX;
    match node(serde_json::from_slice(bytes).ok()?, &mut left)?.value {
        Node::Map(pairs) => Some(pairs),
        _ => None,
    }
}

/// Shows every key and every text.
pub(crate) fn each_text(pairs: &Pairs, see: &mut impl FnMut(&str)) {
    fn each(node: &Node, see: &mut impl FnMut(&str)) {
        match node {
            Node::Text(text) => see(text),
            Node::List(all) => all.iter().for_each(|spot| each(&spot.value, see)),
            Node::Map(pairs) => each_text(pairs, see),
        }
    }
    for (key, spot) in pairs {
        see(&key.value);
        each(&spot.value, see);
    }
}

/// RFC 8785: keys in the order of their UTF-16, no spaces, the shortest escapes. All values are
/// texts, and serde_json escapes them as the RFC does.
pub(crate) fn canonical<'a>(pairs: impl Iterator<Item = &'a (Spot<String>, Spot<Node>)>) -> String {
    let mut json = String::new();
    write_map(pairs, &mut json);
    json
}

fn write_map<'a>(pairs: impl Iterator<Item = &'a (Spot<String>, Spot<Node>)>, json: &mut String) {
    let mut pairs: Vec<_> = pairs.collect();
    pairs.sort_by(|(a, _), (b, _)| by_utf16(&a.value, &b.value));
    json.push('{');
    for (at, (key, value)) in pairs.into_iter().enumerate() {
        separate(at, json);
        write_text(&key.value, json);
        json.push(':');
        write(&value.value, json);
    }
    json.push('}');
}

fn write(node: &Node, json: &mut String) {
    match node {
        Node::Text(text) => write_text(text, json),
        Node::Map(pairs) => write_map(pairs.iter(), json),
        Node::List(all) => {
            json.push('[');
            for (at, value) in all.iter().enumerate() {
                separate(at, json);
                write(&value.value, json);
            }
            json.push(']');
        }
    }
}

fn separate(at: usize, json: &mut String) {
    if at > 0 {
        json.push(',');
    }
}

fn write_text(text: &str, json: &mut String) {
    json.push_str(&serde_json::to_string(text).expect("a text can be written as JSON"));
}

fn by_utf16(a: &str, b: &str) -> Ordering {
    a.encode_utf16().cmp(b.encode_utf16())
}

/// Everything that is allowed at all; what the parser tells apart is judged here.
fn options() -> granit_parser::Options {
    granit_parser::options! {
        strict_indentation: true,
        disallow_directives: true,
        // Each is shown to us, so that all are named with their places.
        emit_unresolved_aliases: true,
        emit_anchor_events: true,
        emit_comments: false,
        // Behind our own limit, which names the first node that is too deep.
        flow_nesting_limit: 2 * DEPTH_MAX,
        block_nesting_limit: 2 * DEPTH_MAX,
    }
}

struct Reader<'a> {
    events: Parser<'a, StrInput<'a>>,
    text: &'a str,
    nodes: usize,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<Spot<Node>, Problem> {
        let root = loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentStart(..), _) => {}
                (Event::StreamEnd, _) => return Err(no_map(Span::START)),
                (event, span) => break self.node(event, span, 0)?,
            }
        };
        loop {
            match self.next()? {
                (Event::DocumentEnd, _) => {}
                (Event::StreamEnd, _) => return Ok(root),
                (_, span) => {
                    let span = self.span(span);
                    return Err(Problem::at(span, "DAEE-M002", "a manifest is one document"));
                }
            }
        }
    }

    /// The next event that is part of the tree.
    fn next(&mut self) -> Result<(Event<'a>, granit_parser::Span), Problem> {
        loop {
            match self.events.next_event() {
                Some(Ok((Event::Anchor(..), span))) => {
                    let span = self.span(span);
                    self.wrong(span, ANCHORS);
                }
                Some(Ok(event)) => return Ok(event),
                Some(Err(error)) => return Err(self.refusal(&error)),
                None => return Ok((Event::StreamEnd, granit_parser::Span::default())),
            }
        }
    }

    /// The node that an event begins, `depth` deep.
    fn node(
        &mut self,
        event: Event<'a>,
        at: granit_parser::Span,
        depth: usize,
    ) -> Result<Spot<Node>, Problem> {
        let span = self.span(at);
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            let message = format!("more than {NODES_MAX} keys and values");
            return Err(Problem::at(span, "DAEE-M002", message));
        }
        let collection = matches!(event, Event::SequenceStart(..) | Event::MappingStart(..));
        if collection && depth == DEPTH_MAX {
            return Err(Problem::at(span, "DAEE-M002", too_deep()));
        }
        if event.tag().is_some() {
            let tag = at.tag_span().map_or(span, |tag| self.span(tag));
            let message = "tags are not allowed: every value is text";
            self.problems.push(Problem::at(tag, "DAEE-M006", message));
        }
        match event {
            Event::Scalar(value, style, ..) => {
                let source = at.slice(self.text).unwrap_or_default();
                let plain = style == ScalarStyle::Plain;
                let missing = plain && source.is_empty();
                let value = if missing { String::new() } else { value.into_owned() };
                let ends = at.byte_range().is_some_and(|range| range.end == self.text.len());
                let cut_off = ends && !self.text.ends_with('\n');
                let written = Written { value: &value, plain, missing, cut_off };
                self.problems.extend(scan::written(span, &written));
                Ok(Spot { value: Node::Text(value), span })
            }
            Event::SequenceStart(..) => {
                let mut all = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, end) => {
                            let last = all.last().map(|spot: &Spot<Node>| spot.span);
                            let span = self.whole(span, last, end);
                            return Ok(Spot { value: Node::List(all), span });
                        }
                        (event, at) => all.push(self.node(event, at, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(..) => {
                let mut pairs = Pairs::new();
                let mut last = None;
                loop {
                    let key = match self.next()? {
                        (Event::MappingEnd, end) => {
                            let span = self.whole(span, last, end);
                            return Ok(Spot { value: Node::Map(pairs), span });
                        }
                        (event, at) => self.key(event, at, depth + 1)?,
                    };
                    let (event, at) = self.next()?;
                    let value = self.node(event, at, depth + 1)?;
                    last = Some(value.span);
                    if let Some(key) = key {
                        pairs.push((key, value));
                    }
                }
            }
            _ => {
                self.wrong(span, ANCHORS);
                Ok(Spot { value: Node::Text(String::new()), span })
            }
        }
    }

    /// A key; `None` where there is something else than a text.
    fn key(
        &mut self,
        event: Event<'a>,
        at: granit_parser::Span,
        depth: usize,
    ) -> Result<Option<Spot<String>>, Problem> {
        let merge = matches!(&event, Event::Scalar(value, ScalarStyle::Plain, ..) if value == "<<");
        let node = self.node(event, at, depth)?;
        if merge {
            // That readers take it for something else than text needs no saying.
            self.problems.pop();
            self.wrong(node.span, "merge keys are not allowed");
            return Ok(None);
        }
        match node.value {
            Node::Text(value) => Ok(Some(Spot { value, span: node.span })),
            _ => {
                self.wrong(node.span, "a key must be a text");
                Ok(None)
            }
        }
    }

    fn wrong(&mut self, span: Span, message: &str) {
        self.problems.push(Problem::at(span, "DAEE-M002", message));
    }

    /// Why the parser stopped, in our words where the rule is ours.
    fn refusal(&self, error: &ScanError) -> Problem {
        let message = match error.kind() {
            ErrorKind::RecursionLimitExceeded => too_deep(),
            ErrorKind::DirectiveDisallowed => "directives are not allowed".to_owned(),
            _ => format!("not the YAML of a manifest: {}", error.info()),
        };
        let place = place(error.marker());
        let at = error.marker().byte_offset().unwrap_or(self.text.len());
        let stands = self.text.get(at..).and_then(|rest| rest.chars().next());
        let columns = u32::from(stands.is_some_and(|c| !matches!(c, '\r' | '\n')));
        let end = Place { line: place.line, column: place.column + columns };
        Problem::at(Span::between(place, end), "DAEE-M002", message)
    }

    /// Where a node stands, without the space behind it.
    fn span(&self, at: granit_parser::Span) -> Span {
        let from = place(&at.start);
        let source = at.slice(self.text).unwrap_or_default().trim_end();
        let to = match source.rsplit_once('\n') {
            Some((before, last)) => Place {
                line: from.line + before.matches('\n').count() as u32 + 1,
                column: last.chars().count() as u32 + 1,
            },
            None => Place { line: from.line, column: from.column + source.chars().count() as u32 },
        };
        Span::between(from, to)
    }

    /// Where a collection stands that begins at `first`: up to its bracket, or its last node.
    fn whole(&self, first: Span, last: Option<Span>, end: granit_parser::Span) -> Span {
        let end = self.span(end);
        let closed = end.place() != end.end();
        let to = if closed { end.end() } else { last.map_or(first.end(), Span::end) };
        Span::between(first.place(), to.max(first.place()))
    }
}

const ANCHORS: &str = "anchors and aliases are not allowed: write the value again";

fn no_map(span: Span) -> Problem {
    Problem::at(span, "DAEE-M002", "a manifest is a map of keys and values")
}

fn too_deep() -> String {
    format!("nested more than {DEPTH_MAX} deep")
}

fn place(marker: &Marker) -> Place {
    Place { line: marker.line() as u32, column: marker.col() as u32 + 1 }
}

#[cfg(test)]
mod tests;
