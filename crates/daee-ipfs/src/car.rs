use std::{
    fmt, io,
    io::SeekFrom,
    path::{Path, PathBuf},
    sync::Arc,
};

use daee_artifact::{
    ArtifactCid, Cid, FileLayout,
    package::{PackageError, Writer},
};
use daee_http::{Bytes, Upload};
use futures_util::stream;
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncSeekExt as _},
};

/// Bytes that are read at a time: what one connection holds in memory.
const PIECE_BYTES: u64 = 256 << 10;

/// A package on its way to others, read from where it lies while it is sent. Cheap to clone.
#[derive(Clone)]
pub struct Car(Arc<Inner>);

struct Inner {
    roots: [ArtifactCid; 3],
    header: Bytes,
    blocks: Vec<CarBlock>,
}

/// Where an artifact lies.
#[derive(Clone, Debug)]
pub enum Source {
    /// In memory.
    Bytes(Bytes),
    /// In a file of its own.
    Artifact(Arc<Path>),
    /// In a package file.
    Package(Arc<Path>),
}

pub(crate) struct CarBlock {
    pub cid: ArtifactCid,
    /// What stands before it in the file: its length and its CID.
    prefix: Bytes,
    data: Data,
}

/// Where bytes are.
enum Data {
    Bytes(Bytes),
    File { path: Arc<Path>, at: u64, bytes: u64 },
}

/// How much of a [`Car`] was handed to a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Bytes of the file.
    pub bytes: u64,
    /// Blocks that are whole.
    pub blocks: usize,
}

impl Car {
    /// The package of an artifact with this layout, a manifest's canonical body and its YAML.
    pub fn package(
        layout: FileLayout,
        source: &Source,
        body: Bytes,
        yaml: Bytes,
    ) -> Result<Self, PackageError> {
        let leaves: Vec<(Cid, usize)> = layout.leaves().collect();
        let (artifact, file_root) = (layout.cid(), layout.root());
        let roots = [artifact, Cid::of(&body).into(), Cid::of(&yaml).into()];
        let mut header = Vec::new();
        // The header is the first thing that is written, and says how long it is.
        let mut writer = Writer::new(layout, &body, &yaml)?;
        let mut first = |bytes: &[u8]| {
            if header.is_empty() {
                header = bytes.to_vec();
            }
        };
        let size = writer.size();
        match leaves[0].1 {
            0 => writer.finish(&mut first)?,
            _ => writer.update(&[0], &mut first),
        }
        header.truncate(header_bytes(&header));

        let mut car = Inner { roots, header: header.into(), blocks: Vec::new() };
        let mut at = car.header.len() as u64;
        let mut push = |cid: ArtifactCid, bytes: u64, data: &dyn Fn(u64) -> Data| {
            let prefix = prefix(&cid, bytes);
            at += prefix.len() as u64;
            car.blocks.push(CarBlock { cid, prefix, data: data(at) });
            at += bytes;
        };
        if let (ArtifactCid::File(_), Some(root)) = (artifact, file_root) {
            let root = Bytes::from(root);
            push(artifact, root.len() as u64, &|_| Data::Bytes(root.clone()));
        }
        let mut within = 0;
        for (cid, bytes) in leaves {
            let len = bytes as u64;
            push(cid.into(), len, &|at| match source {
                Source::Bytes(all) => {
                    Data::Bytes(all.slice(within as usize..within as usize + bytes))
                }
                Source::Artifact(path) => Data::File { path: path.clone(), at: within, bytes: len },
                Source::Package(path) => Data::File { path: path.clone(), at, bytes: len },
            });
            within += len;
        }
        for (cid, block) in [(roots[1], body), (roots[2], yaml)] {
            push(cid, block.len() as u64, &|_| Data::Bytes(block.clone()));
        }
        debug_assert_eq!(at, size, "the one writer of packages counts the same");
        Ok(Self(Arc::new(car)))
    }

    /// CIDs of the artifact, of the canonical body, and of the YAML.
    pub fn roots(&self) -> &[ArtifactCid; 3] {
        &self.0.roots
    }

    /// How many blocks it has.
    pub fn block_count(&self) -> usize {
        self.0.blocks.len()
    }

    pub(crate) fn blocks(&self) -> &[CarBlock] {
        &self.0.blocks
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes_from(0)
    }

    /// Its size without the blocks before this one.
    pub fn bytes_from(&self, first: usize) -> u64 {
        let blocks = self.0.blocks.iter().skip(first);
        self.0.header.len() as u64 + blocks.map(CarBlock::bytes).sum::<u64>()
    }

    /// The file without the blocks before `first`, which is a CARv1 with the same roots, between two other
    /// texts. `on` is told of each piece as it goes.
    pub fn upload(
        &self,
        first: usize,
        around: [Bytes; 2],
        on: impl Fn(Sent) + Send + 'static,
    ) -> Upload {
        let [before, after] = around;
        let bytes = self.bytes_from(first) + (before.len() + after.len()) as u64;
        let reading = Reading {
            car: self.clone(),
            next: first,
            within: None,
            lead: vec![self.0.header.clone(), before],
            tail: Some(after),
            file: None,
            sent: Sent::default(),
            first,
            on: Box::new(on),
        };
        Upload::new(bytes, stream::try_unfold(reading, Reading::next))
    }
}

impl fmt::Debug for Car {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Car").field("roots", &self.0.roots).field("bytes", &self.bytes()).finish()
    }
}

impl CarBlock {
    fn bytes(&self) -> u64 {
        self.prefix.len() as u64 + self.data.bytes()
    }
}

impl Data {
    fn bytes(&self) -> u64 {
        match self {
            Data::Bytes(bytes) => bytes.len() as u64,
            Data::File { bytes, .. } => *bytes,
        }
    }
}

/// A file that is read for one connection.
struct Reading {
    car: Car,
    /// The block whose prefix comes next.
    next: usize,
    /// How far the block before that one was read.
    within: Option<u64>,
    /// What comes first, from the end.
    lead: Vec<Bytes>,
    tail: Option<Bytes>,
    file: Option<(Arc<Path>, File, u64)>,
    sent: Sent,
    first: usize,
    on: Box<dyn Fn(Sent) + Send>,
}

impl Reading {
    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        let Some(piece) = self.piece().await? else { return Ok(None) };
        Ok(Some((piece, self)))
    }

    async fn piece(&mut self) -> io::Result<Option<Bytes>> {
        if let Some(piece) = self.lead.pop() {
            // The header is the last of them.
            if self.lead.is_empty() {
                self.count(piece.len());
            }
            return Ok(Some(piece));
        }
        let car = self.car.clone();
        if let Some(at) = self.within {
            let data = &car.blocks()[self.next - 1].data;
            let piece = self.read(data, at).await?;
            let end = at + piece.len() as u64;
            self.within = (end < data.bytes()).then_some(end);
            self.count(piece.len());
            return Ok(Some(piece));
        }
        let Some(block) = car.blocks().get(self.next) else { return Ok(self.tail.take()) };
        self.next += 1;
        self.within = (block.data.bytes() > 0).then_some(0);
        self.count(block.prefix.len());
        Ok(Some(block.prefix.clone()))
    }

    /// The next bytes of a block, from `at` on.
    async fn read(&mut self, data: &Data, at: u64) -> io::Result<Bytes> {
        match data {
            Data::Bytes(bytes) => Ok(bytes.slice(at as usize..)),
            Data::File { path, at: start, bytes } => {
                let file = self.open(path, start + at).await?;
                let mut piece = vec![0; (bytes - at).min(PIECE_BYTES) as usize];
                let read = file.read(&mut piece).await?;
                if read == 0 {
                    let why =
                        format!("{} is shorter than it was", PathBuf::from(&**path).display());
                    return Err(io::Error::other(why));
                }
                piece.truncate(read);
                if let Some((_, _, position)) = &mut self.file {
                    *position += read as u64;
                }
                Ok(piece.into())
            }
        }
    }

    /// The file at this position.
    async fn open(&mut self, path: &Arc<Path>, at: u64) -> io::Result<&mut File> {
        let (_, mut file, position) = match self.file.take().filter(|(open, ..)| open == path) {
            Some(open) => open,
            None => (path.clone(), File::open(path).await?, 0),
        };
        if position != at {
            file.seek(SeekFrom::Start(at)).await?;
        }
        Ok(&mut self.file.insert((path.clone(), file, at)).1)
    }

    fn count(&mut self, bytes: usize) {
        self.sent.bytes += bytes as u64;
        self.sent.blocks = self.next - self.first - usize::from(self.within.is_some());
        (self.on)(self.sent);
    }
}

/// How long a header is together with its length, which stands first as a varint.
fn header_bytes(header: &[u8]) -> usize {
    let varint = header.iter().take_while(|byte| **byte >= 0x80).count() + 1;
    let value = |bytes: &[u8]| {
        bytes.iter().rev().fold(0, |value, byte| value << 7 | usize::from(byte & 0x7f))
    };
    varint + value(&header[..varint.min(header.len())])
}

/// A block's length, which counts its CID, and its CID.
fn prefix(cid: &ArtifactCid, bytes: u64) -> Bytes {
    let cid = cid.to_bytes();
    let (mut len, mut out) = (cid.len() as u64 + bytes, Vec::with_capacity(40));
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend(cid);
    out.into()
}

#[cfg(test)]
mod tests {
    use daee_artifact::{BLOCK_BYTES_MAX, FileHasher, package};
    use http_body_util::BodyExt as _;

    use super::*;

    /// What is sent of a package with an artifact of this many bytes, from wherever it lies, without the
    /// blocks before `first`.
    async fn check(bytes: usize, first: usize) {
        let artifact: Vec<u8> =
            (0..bytes).map(|at| (at / 7 + at / BLOCK_BYTES_MAX) as u8).collect();
        let (body, yaml) = (Bytes::from_static(b"{}"), Bytes::from_static(b"a: 1\n"));
        let mut hasher = FileHasher::new();
        hasher.update(&artifact);
        let layout = hasher.finish().unwrap();
        let mut writer = Writer::new(layout.clone(), &body, &yaml).unwrap();
        let mut whole = Vec::new();
        writer.update(&artifact, |bytes| whole.extend(bytes));
        writer.finish(|bytes| whole.extend(bytes)).unwrap();

        let folder = tempfile::tempdir().unwrap();
        let (plain, packed) = (folder.path().join("a.wasm"), folder.path().join("a.car"));
        std::fs::write(&plain, &artifact).unwrap();
        std::fs::write(&packed, &whole).unwrap();
        for source in [
            Source::Bytes(artifact.clone().into()),
            Source::Artifact(plain.into()),
            Source::Package(packed.into()),
        ] {
            let car = Car::package(layout.clone(), &source, body.clone(), yaml.clone()).unwrap();
            assert_eq!(car.bytes(), whole.len() as u64, "{source:?}");
            let sent = Arc::new(std::sync::Mutex::new(Sent::default()));
            let seen = sent.clone();
            let around = [Bytes::from_static(b"before"), Bytes::from_static(b"after")];
            let upload = car.upload(first, around, move |sent| *seen.lock().unwrap() = sent);
            let found = upload.collect().await.unwrap().to_bytes();
            let skipped = (car.bytes() - car.bytes_from(first)) as usize;
            let header = car.0.header.len();
            let expected =
                [b"before", &whole[..header], &whole[header + skipped..], b"after"].concat();
            assert!(found == expected, "{source:?} of {bytes} bytes from block {first}");
            let all = Sent { bytes: car.bytes_from(first), blocks: car.block_count() - first };
            assert_eq!(*sent.lock().unwrap(), all);
        }
        if bytes <= BLOCK_BYTES_MAX {
            assert_eq!(package::write(&artifact, &body, &yaml).unwrap(), whole);
        }
    }

    #[tokio::test]
    async fn what_is_sent_is_the_package_from_wherever_it_is_read() {
        for bytes in [0, 1, 1000, BLOCK_BYTES_MAX, BLOCK_BYTES_MAX + 1, 3 * BLOCK_BYTES_MAX] {
            check(bytes, 0).await;
        }
    }

    #[tokio::test]
    async fn blocks_that_are_there_are_left_out() {
        check(1000, 1).await;
        check(1000, 3).await;
        check(3 * BLOCK_BYTES_MAX, 2).await;
        check(3 * BLOCK_BYTES_MAX, 5).await;
    }
}
