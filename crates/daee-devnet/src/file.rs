use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{BufRead as _, BufReader, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use daee_types::TokenAmount;
use revm::primitives::{Address, B256, Bytes, U256};
use serde::{Deserialize, Serialize};

use crate::{
    DevnetError,
    block::{Block, Tx},
    chain::{Chain, Draft},
};

/// Bytes of a line: a block full of the largest transactions, in hex.
const LINE_BYTES_MAX: usize = 16 << 20;

/// A chain in a file: a line of JSON for how it began and one for each block, which is mined again when the
/// file is opened. Only appended to, and written before a client hears of the block; a process that is
/// killed loses nothing of it, a machine that loses power may lose the last seconds.
#[derive(Debug)]
pub(crate) struct ChainFile {
    file: File,
    path: PathBuf,
    /// The chain that the lines lead to.
    written: Vec<B256>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Began(Began),
    Block(BlockLine),
    /// The blocks above this number are gone.
    Dropped(u64),
}

/// How a chain begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Began {
    pub(crate) chain_id: u64,
    pub(crate) accounts: Vec<(Address, TokenAmount)>,
    /// Seconds.
    pub(crate) time: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct BlockLine {
    time: u64,
    hash: B256,
    #[serde(default, skip_serializing_if = "is_zero")]
    ahead: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    branch: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    credits: Vec<(Address, U256)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    txs: Vec<Bytes>,
}

impl ChainFile {
    /// Opens the chain of a file, or begins one there. Blocking.
    pub(crate) fn open(path: &Path, began: Began) -> Result<(Self, Chain), DevnetError> {
        let failed = |error: std::io::Error| failed(path, &error);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = file.map_err(failed)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => DevnetError::Busy(path.to_owned()),
            TryLockError::Error(error) => failed(error),
        })?;
        let mut opened = Self { file, path: path.to_owned(), written: Vec::new() };
        let chain = match opened.replay(&began)? {
            Some(chain) => chain,
            None => {
                let chain = Chain::new(&began);
                opened.append(&[Line::Began(began)]).map_err(failed)?;
                chain
            }
        };
        opened.written = chain.blocks().iter().map(|block| block.hash).collect();
        Ok((opened, chain))
    }

    /// Writes what the chain has and the file has not.
    pub(crate) fn follow(&mut self, chain: &Chain) -> Result<(), DevnetError> {
        let blocks = chain.blocks();
        let mut common = self.written.len().min(blocks.len());
        // Blocks know their parents: where one is the same, all below are.
        while common > 0 && self.written[common - 1] != blocks[common - 1].hash {
            common -= 1;
        }
        let mut lines = Vec::new();
        if common < self.written.len() {
            lines.push(Line::Dropped(common as u64 - 1));
        }
        lines.extend(blocks[common..].iter().map(|block| Line::Block(BlockLine::of(block))));
        if lines.is_empty() {
            return Ok(());
        }
        self.append(&lines).map_err(|error| failed(&self.path, &error))?;
        self.written.truncate(common);
        self.written.extend(blocks[common..].iter().map(|block| block.hash));
        Ok(())
    }

    fn append(&mut self, lines: &[Line]) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut bytes, line)?;
            bytes.push(b'\n');
        }
        self.file.write_all(&bytes)
    }

    /// Mines every block of the file again. `None` if it is empty.
    fn replay(&mut self, wanted: &Began) -> Result<Option<Chain>, DevnetError> {
        let path = self.path.clone();
        let failed = |error: std::io::Error| failed(&path, &error);
        let mut chain: Option<Chain> = None;
        let mut lines = BufReader::new(&self.file);
        let (mut whole, mut text) = (0, Vec::new());
        for number in 1.. {
            text.clear();
            let limit = LINE_BYTES_MAX as u64 + 1;
            let read = std::io::Read::take(&mut lines, limit).read_until(b'\n', &mut text);
            read.map_err(failed)?;
            let corrupt =
                |why: String| DevnetError::Corrupt { path: path.clone(), line: number, why };
            if text.len() > LINE_BYTES_MAX {
                return Err(corrupt("the line is too long".to_owned()));
            }
            // A line without its end was being written when the process died: nobody heard of it.
            if text.last() != Some(&b'\n') {
                break;
            }
            let line = serde_json::from_slice(&text).map_err(|error| corrupt(error.to_string()))?;
            match (&mut chain, line) {
                (None, Line::Began(began)) => {
                    let same =
                        began.chain_id == wanted.chain_id && began.accounts == wanted.accounts;
                    if !same {
                        return Err(DevnetError::OtherChain(path));
                    }
                    chain = Some(Chain::new(&began));
                }
                (Some(chain), Line::Block(block)) => chain.replay(block).map_err(corrupt)?,
                (Some(chain), Line::Dropped(number)) => chain.truncate(number),
                (None, _) => return Err(corrupt("the chain has no beginning".to_owned())),
                (Some(_), Line::Began(_)) => {
                    return Err(corrupt("the chain begins twice".to_owned()));
                }
            }
            whole += text.len() as u64;
        }
        self.file.set_len(whole).map_err(failed)?;
        self.file.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok(chain)
    }
}

impl Chain {
    fn replay(&mut self, line: BlockLine) -> Result<(), String> {
        let words = |error: crate::rpc::RpcError| error.message;
        let txs: Result<_, _> = line.txs.iter().map(|raw| Tx::read(raw)).collect();
        let draft = Draft { credits: line.credits, txs: txs.map_err(words)? };
        self.mine_again(line.time, line.ahead, line.branch, draft).map_err(words)?;
        match self.head().hash == line.hash {
            true => Ok(()),
            false => Err(format!(
                "block {} comes out with another hash: the file is damaged or of another version",
                self.head().number()
            )),
        }
    }
}

impl BlockLine {
    fn of(block: &Arc<Block>) -> Self {
        Self {
            time: block.time(),
            hash: block.hash,
            ahead: block.ahead,
            branch: block.branch,
            credits: block.credits.clone(),
            txs: block.txs.iter().map(|mined| mined.tx.raw()).collect(),
        }
    }
}

fn failed(path: &Path, error: &std::io::Error) -> DevnetError {
    DevnetError::File { path: path.to_owned(), why: error.to_string() }
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

#[cfg(test)]
mod tests {
    use std::sync::RwLock;

    use super::*;
    use crate::rpc::{Node, exchange};

    #[test]
    fn a_block_that_cannot_be_kept_is_not_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chain");
        let began = Began { chain_id: 1, accounts: Vec::new(), time: 5 };
        let (mut file, chain) = ChainFile::open(&path, began).unwrap();
        let written = std::fs::read(&path).unwrap();
        file.file = File::open(&path).unwrap();
        let node = RwLock::new(Node::new(chain, Some(file)));

        for _ in 0..2 {
            let answer = exchange(&node, br#"{"id": 1, "method": "evm_mine"}"#, 5).unwrap();
            let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
            assert_eq!(answer["error"]["code"], -32603, "{answer}");
        }
        assert!(node.write().unwrap().tick(9).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), written);
    }
}
