use std::{
    sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    thread::JoinHandle,
};

use daee_artifact::Hasher;
use daee_types::ArtifactHash;

/// Most bytes that go to the other thread at once.
const PIECE_BYTES: usize = 256 << 10;
/// How many of them may wait there: enough for the moments in which it has no core, since a reader that
/// waits for it does not catch up.
const WAITING_MAX: usize = 64;

/// The SHA-256 of a whole stream, on a core of its own, so that whoever reads can hash its blocks meanwhile.
/// It is for streams of more than a block: what is shorter is hashed before another thread has begun.
pub(crate) enum Whole {
    There(There),
    /// The system gives no thread.
    Here(Hasher),
}

pub(crate) struct There {
    pieces: SyncSender<Vec<u8>>,
    /// Used buffers come back.
    empty: Receiver<Vec<u8>>,
    hasher: JoinHandle<ArtifactHash>,
}

impl Whole {
    pub(crate) fn new() -> Self {
        There::begin().map_or_else(|| Self::Here(Hasher::new()), Self::There)
    }

    pub(crate) fn update(&mut self, piece: &[u8]) {
        match self {
            Self::There(there) => piece.chunks(PIECE_BYTES).for_each(|piece| there.update(piece)),
            Self::Here(hasher) => hasher.update(piece),
        }
    }

    pub(crate) fn finish(self) -> ArtifactHash {
        match self {
            Self::There(There { pieces, hasher, .. }) => {
                drop(pieces);
                hasher.join().expect("hashing does not fail")
            }
            Self::Here(hasher) => hasher.finish(),
        }
    }
}

impl There {
    fn begin() -> Option<Self> {
        let (pieces, coming) = sync_channel::<Vec<u8>>(WAITING_MAX);
        let (used, empty): (Sender<Vec<u8>>, _) = channel();
        let hash = move || {
            let mut hasher = Hasher::new();
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

    fn update(&self, piece: &[u8]) {
        let mut buffer = self.empty.try_recv().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(piece);
        self.pieces.send(buffer).expect("the hasher takes pieces until there are no more");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_of_any_length_hashes_as_the_whole() {
        for len in [0, 1, 100_003, 3 << 20] {
            let bytes: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
            for piece in [len.max(1), 64 << 10, 100_003] {
                for mut whole in [Whole::new(), Whole::Here(Hasher::new())] {
                    bytes.chunks(piece).for_each(|piece| whole.update(piece));
                    assert_eq!(whole.finish(), ArtifactHash::of(&bytes), "{len} in {piece}");
                }
            }
        }
    }
}
