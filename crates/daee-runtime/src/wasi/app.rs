//! What a module brings with it, as files that can only be read.

use std::collections::BTreeMap;

use daee_artifact::{PackedFile, read_files};
use daee_state::{FileError, FileKind, Place, follow};

use crate::mapped::Mapped;

/// The tree under `/app`, made when it is first looked at.
pub(super) struct App {
    mapped: Mapped,
    nodes: Option<Vec<Node>>,
}

enum Node {
    /// Where its bytes are among those of all files.
    File {
        at: usize,
        len: usize,
    },
    Directory(BTreeMap<String, u64>),
}

impl App {
    pub(super) fn new(mapped: Mapped) -> Self {
        Self { mapped, nodes: None }
    }

    pub(super) fn follow<'p>(&mut self, at: u64, path: &'p str) -> Result<Place<'p>, FileError> {
        let nodes = self.nodes();
        let kind = |number: u64| Some(kind(nodes.get(usize::try_from(number).ok()?)?));
        let lookup = |number: u64, name: &str| match &nodes[usize::try_from(number).ok()?] {
            Node::Directory(names) => names.get(name).copied(),
            Node::File { .. } => None,
        };
        follow(at, path, kind, lookup)
    }

    pub(super) fn kind(&mut self, number: u64) -> FileKind {
        kind(&self.nodes()[number as usize])
    }

    pub(super) fn size(&mut self, number: u64) -> u64 {
        match &self.nodes()[number as usize] {
            Node::File { len, .. } => *len as u64,
            Node::Directory(_) => 0,
        }
    }

    pub(super) fn read(&mut self, number: u64, offset: u64, bytes: u32) -> &[u8] {
        let (at, len) = match &self.nodes()[number as usize] {
            Node::File { at, len } => (*at, *len),
            Node::Directory(_) => (0, 0),
        };
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(len);
        let to = from.saturating_add(bytes as usize).min(len);
        &self.mapped.files()[at + from..at + to]
    }

    pub(super) fn list(&mut self, number: u64) -> Vec<(String, u64, bool)> {
        let nodes = self.nodes();
        let Node::Directory(names) = &nodes[number as usize] else { return Vec::new() };
        let entry = |(name, number): (&String, &u64)| {
            let directory = kind(&nodes[*number as usize]) == FileKind::Directory;
            (name.clone(), *number, directory)
        };
        names.iter().map(entry).collect()
    }

    fn nodes(&mut self) -> &[Node] {
        let mapped = &self.mapped;
        self.nodes.get_or_insert_with(|| {
            let all = mapped.files();
            // They were checked with the module.
            tree(&read_files(all).unwrap_or_default())
        })
    }
}

fn kind(node: &Node) -> FileKind {
    match node {
        Node::File { .. } => FileKind::File,
        Node::Directory(_) => FileKind::Directory,
    }
}

fn tree(files: &[PackedFile<'_>]) -> Vec<Node> {
    let mut nodes = vec![Node::Directory(BTreeMap::new())];
    for file in files {
        let mut parts = file.path.split('/').peekable();
        let mut here = 0;
        while let Some(part) = parts.next() {
            let next = nodes.len() as u64;
            let Node::Directory(names) = &mut nodes[here] else { break };
            let number = *names.entry(part.to_owned()).or_insert(next);
            if number == next {
                nodes.push(match parts.peek() {
                    Some(_) => Node::Directory(BTreeMap::new()),
                    None => Node::File { at: file.place.start, len: file.place.len() },
                });
            }
            here = number as usize;
        }
    }
    nodes
}
