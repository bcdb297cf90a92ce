use std::{
    sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    thread::JoinHandle,
};

use daee_artifact::Hasher;
use daee_types::ArtifactHash;

/// What is shorter than this is hashed before another thread has begun.
const ALONE_BYTES: usize = 4 << 20;
/// How many pieces may wait for the other thread: no more memory than that.
const WAITING_MAX: usize = 8;

/// The SHA-256 of a whole stream, on a core of its own once the stream is long, so that whoever reads
/// can hash its blocks meanwhile.
pub(crate) struct Whole {
    here: Hasher,
    bytes: usize,
    there: Option<There>,
}

struct There {
    pieces: SyncSender<Vec<u8>>,
    /// Used buffers come back.
    empty: Receiver<Vec<u8>>,
    hasher: JoinHandle<ArtifactHash>,
}

impl Whole {
    pub(crate) fn new() -> Self {
        Self { here: Hasher::new(), bytes: 0, there: None }
    }

    pub(crate) fn update(&mut self, piece: &[u8]) {
        if let Some(there) = &self.there {
            let mut buffer = there.empty.try_recv().unwrap_or_default();
            buffer.clear();
            buffer.extend_from_slice(piece);
            there.pieces.send(buffer).expect("the hasher takes pieces until there are no more");
            return;
        }
        self.here.update(piece);
        self.bytes = self.bytes.saturating_add(piece.len());
        if self.bytes >= ALONE_BYTES {
            self.there = There::begin(self.here.clone());
        }
    }

    pub(crate) fn finish(self) -> ArtifactHash {
        match self.there {
            Some(There { pieces, hasher, .. }) => {
                drop(pieces);
                hasher.join().expect("hashing does not fail")
            }
            None => self.here.finish(),
        }
    }
}

impl There {
    /// Goes on from where `hasher` is; nothing if the system gives no thread, and then it goes on here.
    fn begin(mut hasher: Hasher) -> Option<Self> {
        let (pieces, coming) = sync_channel::<Vec<u8>>(WAITING_MAX);
        let (used, empty): (Sender<Vec<u8>>, _) = channel();
        let hash = move || {
            while let Ok(piece) = coming.recv() {
                hasher.update(&piece);
                // Nobody takes buffers back at the end.
                let _ = used.send(piece);
            }
            hasher.finish()
        };
        let hasher = std::thread::Builder::new().spawn(hash).ok()?;
        Some(Self { pieces, empty, hasher })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_of_any_length_hashes_as_the_whole() {
        for len in [0, 1, ALONE_BYTES - 1, ALONE_BYTES, ALONE_BYTES + 1, 3 * ALONE_BYTES + 7] {
            let bytes: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
            for piece in [len.max(1), 64 << 10, 100_003] {
                let mut whole = Whole::new();
                bytes.chunks(piece).for_each(|piece| whole.update(piece));
                assert_eq!(whole.finish(), ArtifactHash::of(&bytes), "{len} in {piece}");
            }
        }
    }
}
