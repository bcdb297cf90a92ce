use daee_types::{Coded, DeploymentId, Fault, LeafHash, Word, keccak256};

/// The leaves that a node anchors at once, one for each of its leases (MARKET rule 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnchorTree(Vec<(DeploymentId, LeafHash)>);

/// Two leaves of one deployment: the root would commit to both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// Which deployment stands there twice.
    #[error("deployment {0} has two leaves in one tree")]
    Twice(DeploymentId),
}

impl Coded for TreeError {
    fn code(&self) -> &'static str {
        "DAEE-K010"
    }
    fn fault(&self) -> Fault {
        Fault::Node
    }
}

impl AnchorTree {
    /// Sorts the leaves by deployment, so that it can be proven what is not in the tree.
    pub fn new(
        leaves: impl IntoIterator<Item = (DeploymentId, LeafHash)>,
    ) -> Result<Self, TreeError> {
        let mut leaves: Vec<_> = leaves.into_iter().collect();
        leaves.sort_unstable();
        match leaves.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => Err(TreeError::Twice(pair[0].0)),
            None => Ok(Self(leaves)),
        }
    }

    /// The leaves, by deployment.
    pub fn leaves(&self) -> &[(DeploymentId, LeafHash)] {
        &self.0
    }

    /// What is anchored.
    pub fn root(&self) -> Word {
        anchor_root(&self.0)
    }

    /// The proof that `open` takes for a deployment's leaf, if it has one here.
    pub fn proof(&self, deployment: DeploymentId) -> Option<Vec<Word>> {
        let index = self.0.binary_search_by_key(&deployment, |leaf| leaf.0).ok()?;
        Some(anchor_proof(&self.0, index))
    }
}

/// The root over leaves in ascending order of deployment, each deployment once; [`AnchorTree`] sees to
/// that. A tree without leaves has a root too, which no proof leads to.
pub fn anchor_root(leaves: &[(DeploymentId, LeafHash)]) -> Word {
    let mut level = bottom(leaves);
    while level.len() > 1 {
        level = above(&level);
    }
    top(leaves.len(), &level.first().copied().unwrap_or_default())
}

/// The proof for the leaf at `index` of such leaves: index, count, then siblings from the bottom up.
///
/// # Panics
/// If there is no leaf at `index`.
pub fn anchor_proof(leaves: &[(DeploymentId, LeafHash)], index: usize) -> Vec<Word> {
    assert!(index < leaves.len(), "leaf {index} of {}", leaves.len());
    let mut proof = vec![number(index), number(leaves.len())];
    let (mut level, mut at) = (bottom(leaves), index);
    while level.len() > 1 {
        // The last of an odd row moves up as it is.
        if let Some(sibling) = level.get(at ^ 1) {
            proof.push(*sibling);
        }
        level = above(&level);
        at /= 2;
    }
    proof
}

/// The root that a proof leads to, as the contract computes it; `None` for a proof that is none.
pub fn root_of_proof(deployment: DeploymentId, leaf: LeafHash, proof: &[Word]) -> Option<Word> {
    let [index, count, siblings @ ..] = proof else { return None };
    let (mut index, count) = (read_number(index)?, read_number(count)?);
    if index >= count {
        return None;
    }
    let (mut node, mut siblings) = (leaf_node(deployment, leaf), siblings.iter());
    let mut width = count;
    while width > 1 {
        let alone = index == width - 1 && width % 2 == 1;
        if !alone {
            let sibling = siblings.next()?;
            node = if index % 2 == 0 { pair(&node, sibling) } else { pair(sibling, &node) };
        }
        index /= 2;
        width = width.div_ceil(2);
    }
    siblings.next().is_none().then(|| top(count as usize, &node))
}

fn bottom(leaves: &[(DeploymentId, LeafHash)]) -> Vec<Word> {
    leaves.iter().map(|(deployment, leaf)| leaf_node(*deployment, *leaf)).collect()
}

fn above(level: &[Word]) -> Vec<Word> {
    let join = |nodes: &[Word]| match nodes {
        [left, right] => pair(left, right),
        alone => alone[0],
    };
    level.chunks(2).map(join).collect()
}

// A tag for each kind of node, so that none passes for another.
fn leaf_node(deployment: DeploymentId, leaf: LeafHash) -> Word {
    let mut input = [0; 65];
    input[25..33].copy_from_slice(&deployment.0.to_be_bytes());
    input[33..].copy_from_slice(leaf.as_bytes());
    keccak256(input)
}

fn pair(left: &Word, right: &Word) -> Word {
    let mut input = [1; 65];
    input[1..33].copy_from_slice(left);
    input[33..].copy_from_slice(right);
    keccak256(input)
}

fn top(count: usize, node: &Word) -> Word {
    let mut input = [2; 65];
    input[1..33].copy_from_slice(&number(count));
    input[33..].copy_from_slice(node);
    keccak256(input)
}

fn number(n: usize) -> Word {
    let mut word = [0; 32];
    word[24..].copy_from_slice(&(n as u64).to_be_bytes());
    word
}

/// At most 2^32 - 1, as the contract has it.
fn read_number(word: &Word) -> Option<u32> {
    let (zeros, number) = word.split_at(28);
    zeros
        .iter()
        .all(|byte| *byte == 0)
        .then(|| u32::from_be_bytes(number.try_into().unwrap_or_default()))
}
