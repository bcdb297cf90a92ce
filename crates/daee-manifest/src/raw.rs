//! The manifest as a tree of texts, each with its place. Nothing is interpreted here.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{Location, Spanned, Tagged};

use crate::problem::{Place, Problem};

/// Something and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Spot<T> {
    pub value: T,
    pub place: Place,
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

/// How a node is written, as far as its meaning depends on it.
pub(crate) struct Written<'a> {
    /// The node as it stands in the file; empty where there is nothing.
    pub source: &'a str,
    pub tagged: bool,
    /// A scalar that the YAML rules themselves take for something else than text.
    pub resolved: bool,
    /// It ends with the file, and the file with no line break.
    pub cut_off: bool,
}

/// Reads YAML that has passed the scan. `see` is shown every key and every node.
pub(crate) fn read_yaml(
    text: &str,
    mut see: impl FnMut(Place, Written<'_>, Option<&str>),
) -> Result<Pairs, Problem> {
    let found: Result<Found, _> = serde_saphyr::from_str_with_options(text, options());
    let root = found.map_err(|error| {
        let place = error.location().map_or(Place::START, place_of);
        Problem::at(place, "DAEE-M002", refusal(&error))
    })?;
    let root = root.settle(text, &mut see);
    match root.value {
        Node::Map(pairs) => Ok(pairs),
        _ => Err(Problem::at(root.place, "DAEE-M002", "a manifest is a map of keys and values")),
    }
}

/// Reads the canonical body's JSON into the same tree. Its places are all 1:1: nobody edits it.
pub(crate) fn read_json(bytes: &[u8]) -> Option<Pairs> {
    fn node(value: serde_json::Value) -> Option<Spot<Node>> {
        use serde_json::Value;
        let value = match value {
            Value::String(text) => Node::Text(text),
            Value::Array(all) => Node::List(all.into_iter().map(node).collect::<Option<_>>()?),
            Value::Object(map) => {
                let pair =
                    |(key, value)| Some((Spot { value: key, place: Place::START }, node(value)?));
                Node::Map(map.into_iter().map(pair).collect::<Option<_>>()?)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => return None,
        };
        Some(Spot { value, place: Place::START })
    }
    match node(serde_json::from_slice(bytes).ok()?)?.value {
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
    serde_json::to_string(&sorted(pairs)).expect("texts can be written as JSON")
}

fn sorted<'a>(
    pairs: impl Iterator<Item = &'a (Spot<String>, Spot<Node>)>,
) -> BTreeMap<ByUtf16<'a>, &'a Node> {
    pairs.map(|(key, node)| (ByUtf16(&key.value), &node.value)).collect()
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => to.serialize_str(text),
            Self::List(all) => to.collect_seq(all.iter().map(|spot| &spot.value)),
            Self::Map(pairs) => sorted(pairs.iter()).serialize(to),
        }
    }
}

#[derive(PartialEq, Eq)]
struct ByUtf16<'a>(&'a str);

impl Ord for ByUtf16<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.encode_utf16().cmp(other.0.encode_utf16())
    }
}

impl PartialOrd for ByUtf16<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Serialize for ByUtf16<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.0)
    }
}

const NODES_MAX: usize = 2_000;
const DEPTH_MAX: usize = 8;

/// Why the reader stopped, in our words where the rule is ours.
fn refusal(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::{Error, budget::BudgetBreach};
    match error.without_snippet() {
        Error::Budget { breach, .. } => match breach {
            BudgetBreach::Anchors { .. } | BudgetBreach::Aliases { .. } => {
                "anchors and aliases are not allowed: write the value again".to_owned()
            }
            BudgetBreach::Depth { .. } => format!("nested more than {DEPTH_MAX} deep"),
            BudgetBreach::Nodes { .. } => format!("more than {NODES_MAX} keys and values"),
            other => format!("too large: {other:?}"),
        },
        Error::UnknownAnchor { .. } => "anchors and aliases are not allowed".to_owned(),
        Error::MergeKeyNotAllowed { .. } => "merge keys are not allowed".to_owned(),
        Error::MultipleDocuments { .. } => "a manifest is one document".to_owned(),
        other => {
            let said = other.to_string();
            let said = said.lines().next().unwrap_or_default();
            // The place is told beside the message.
            let said = said.split(" at line ").next().unwrap_or_default();
            format!("not the YAML of a manifest: {said}")
        }
    }
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_anchors: 0,
            max_aliases: 0,
            max_nodes: NODES_MAX,
            max_depth: DEPTH_MAX,
            flow_nesting_limit: DEPTH_MAX + 1,
            max_documents: 1,
        },
        // All of them are shown to us, so that each is named with its place.
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::PassThrough,
        merge_keys: serde_saphyr::MergeKeyPolicy::Error,
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::AsString,
        ignore_binary_tag_for_string: true,
        // They would count against a budget, and a manifest may explain itself at length.
        emit_comments: false,
        with_snippet: false,
    }
}

fn place_of(location: Location) -> Place {
    Place { line: location.line() as u32, column: location.column() as u32 }
}

/// A node as the reader gives it.
struct Found {
    node: FoundNode,
    tagged: bool,
    location: Location,
}

enum FoundNode {
    Text(String),
    /// Null, a boolean or a number.
    Resolved,
    List(Vec<Found>),
    Map(Vec<(Found, Found)>),
}

impl Found {
    fn settle(
        self,
        text: &str,
        see: &mut impl FnMut(Place, Written<'_>, Option<&str>),
    ) -> Spot<Node> {
        let span = self.location.span();
        let from = span.byte_offset().unwrap_or(0) as usize;
        let to = from + span.byte_len().unwrap_or(0) as usize;
        let source = text.get(from..to).unwrap_or_default();
        let place = place_of(self.location);
        let resolved = matches!(self.node, FoundNode::Resolved);
        let cut_off = to == text.len() && !text.ends_with('\n');
        let written = Written { source, tagged: self.tagged, resolved, cut_off };
        let value = match self.node {
            FoundNode::Text(value) => {
                see(place, written, Some(&value));
                Node::Text(value)
            }
            FoundNode::Resolved => {
                see(place, written, Some(source));
                Node::Text(source.to_owned())
            }
            FoundNode::List(all) => {
                see(place, written, None);
                Node::List(all.into_iter().map(|found| found.settle(text, see)).collect())
            }
            FoundNode::Map(pairs) => {
                see(place, written, None);
                let mut settled = Pairs::new();
                for (key, value) in pairs {
                    let key = key.settle(text, see);
                    let value = value.settle(text, see);
                    // The reader below takes scalars alone for keys.
                    if let Node::Text(name) = key.value {
                        settled.push((Spot { value: name, place: key.place }, value));
                    }
                }
                Node::Map(settled)
            }
        };
        Spot { value, place }
    }
}

impl<'de> Deserialize<'de> for Found {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Tagged<FoundNode>>::deserialize(from)?;
        let Tagged(node, tag) = spanned.value;
        Ok(Self { node, tagged: tag.is_some(), location: spanned.referenced })
    }
}

/// A key: any scalar, as it is written.
struct FoundKey(Found);

impl<'de> Deserialize<'de> for FoundKey {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Tagged<String>>::deserialize(from)?;
        let Tagged(text, tag) = spanned.value;
        let node = FoundNode::Text(text);
        Ok(Self(Found { node, tagged: tag.is_some(), location: spanned.referenced }))
    }
}

impl<'de> Deserialize<'de> for FoundNode {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = FoundNode;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("texts, lists and maps")
            }
            fn visit_str<E>(self, text: &str) -> Result<FoundNode, E> {
                Ok(FoundNode::Text(text.to_owned()))
            }
            fn visit_bool<E>(self, _: bool) -> Result<FoundNode, E> {
                Ok(FoundNode::Resolved)
            }
            fn visit_i64<E>(self, _: i64) -> Result<FoundNode, E> {
                Ok(FoundNode::Resolved)
            }
            fn visit_u64<E>(self, _: u64) -> Result<FoundNode, E> {
                Ok(FoundNode::Resolved)
            }
            fn visit_f64<E>(self, _: f64) -> Result<FoundNode, E> {
                Ok(FoundNode::Resolved)
            }
            fn visit_unit<E>(self) -> Result<FoundNode, E> {
                Ok(FoundNode::Resolved)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<FoundNode, A::Error> {
                let mut all = Vec::new();
                while let Some(found) = seq.next_element::<Found>()? {
                    all.push(found);
                }
                Ok(FoundNode::List(all))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FoundNode, A::Error> {
                let mut all = Vec::new();
                while let Some((FoundKey(key), value)) = map.next_entry::<FoundKey, Found>()? {
                    all.push((key, value));
                }
                Ok(FoundNode::Map(all))
            }
        }
        from.deserialize_any(Any)
    }
}
