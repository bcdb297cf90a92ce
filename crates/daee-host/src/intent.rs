//! What the turn under way has begun, on disk before anything outside is done.
//!
//! The file holds pieces of one turn, each behind its length and checksum: what came to the transcript and beside it
//! since the piece before.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use daee_transcript::{Bodies, Entry, entries};
use daee_types::{
    Word, sha256,
    wire::{Reader, WireError, Writer},
};

/// The file of one lease.
pub(crate) struct IntentFile {
    path: PathBuf,
    open: Option<Open>,
}

/// What the file holds of its turn.
struct Open {
    file: File,
    turn: u64,
    len: u64,
    transcript: usize,
    bodies: usize,
}

impl IntentFile {
    /// There; what it holds stays until the first turn writes to it.
    pub fn at(path: PathBuf) -> Self {
        Self { path, open: None }
    }

    /// Puts a turn so far on disk: only what is new, or all of it in place of what another turn had. If this fails,
    /// what is new comes again with the next.
    pub fn write(&mut self, transcript: &[u8], bodies: &Bodies) -> io::Result<()> {
        let turn = turn_of(transcript).ok_or(io::ErrorKind::InvalidData)?;
        let goes_on = |open: &Open| {
            open.turn == turn && open.transcript <= transcript.len() && open.bodies <= bodies.len()
        };
        let mut open = match self.open.take().filter(goes_on) {
            Some(open) => open,
            None => self.begin(turn)?,
        };
        let bytes = piece(turn, &transcript[open.transcript..], &bodies[open.bodies..]);
        if let Err(error) = open.file.write_all_at(&bytes, open.len) {
            // The half of it; if it stays, it is written over.
            let _ = open.file.set_len(open.len);
            self.open = Some(open);
            return Err(error);
        }
        // After an error the kernel may have dropped any page, and all is written anew.
        open.file.sync_data()?;
        open.len += bytes.len() as u64;
        (open.transcript, open.bodies) = (transcript.len(), bodies.len());
        self.open = Some(open);
        Ok(())
    }

    fn begin(&self, turn: u64) -> io::Result<Open> {
        let fresh = !self.path.exists();
        let file = File::create(&self.path)?;
        if let Some(dir) = self.path.parent().filter(|_| fresh) {
            File::open(dir)?.sync_all()?;
        }
        Ok(Open { file, turn, len: 0, transcript: 0, bodies: 0 })
    }
}

/// What is there of a turn, up to the first piece that is not whole: that one was never acted on.
pub(crate) fn read(path: &Path) -> Option<(Vec<u8>, Bodies)> {
    let bytes = fs::read(path).ok()?;
    let mut from = Reader::new(&bytes);
    let (mut turn, mut transcript, mut bodies) = (None, Vec::new(), Bodies::new());
    while let Ok(Some((own, more, beside))) = next_piece(&mut from) {
        // What a turn before had there may still stand behind the newest.
        if *turn.get_or_insert(own) != own {
            break;
        }
        transcript.extend(more);
        bodies.extend(beside);
    }
    turn.map(|_| (transcript, bodies))
}

fn piece(turn: u64, transcript: &[u8], bodies: &[(Word, Vec<u8>)]) -> Vec<u8> {
    let mut inner = Writer::new();
    inner.u64(turn).bytes(transcript).u32(bodies.len() as u32);
    for (_, body) in bodies {
        inner.bytes(body);
    }
    let inner = inner.finish();
    let mut out = Writer::new();
    out.word(&sha256(&inner)).bytes(&inner);
    out.finish()
}

type Piece<'a> = (u64, &'a [u8], Bodies);

/// Nothing if it is another's bytes than what was summed.
fn next_piece<'a>(from: &mut Reader<'a>) -> Result<Option<Piece<'a>>, WireError> {
    let (sum, inner) = (from.word()?, from.bytes()?);
    if sha256(inner) != sum {
        return Ok(None);
    }
    let mut from = Reader::new(inner);
    let (turn, transcript) = (from.u64()?, from.bytes()?);
    let mut bodies = Bodies::new();
    for _ in 0..from.count(4)? {
        let body = from.bytes()?;
        bodies.push((sha256(body), body.to_vec()));
    }
    from.finish()?;
    Ok(Some((turn, transcript, bodies)))
}

/// The turn that a transcript begins.
fn turn_of(transcript: &[u8]) -> Option<u64> {
    entries(transcript).map_while(Result::ok).find_map(|(entry, _)| match entry {
        Entry::Event { turn, .. } => Some(turn),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use daee_runtime::Event;
    use daee_transcript::{Frame, Segment};
    use daee_types::Timestamp;

    use super::*;

    type Kept = (Vec<u8>, Bodies);

    /// What a turn has recorded before each of so many calls.
    fn turn(turn: u64, calls: u32) -> Vec<Kept> {
        let mut segment = Segment::default();
        let frame = Frame::of(&Event::Start.frame(turn, Timestamp(9)), &mut segment.bodies);
        segment.push(&Entry::Event { turn, at: Timestamp(9), frame });
        let calls = (0..calls).map(|call| {
            segment.bodies.push((sha256([call as u8; 2000]), vec![call as u8; 2000]));
            segment.push(&Entry::Intent { turn, call, op: "http.fetch".into(), input: [7; 32] });
            (segment.bytes().to_vec(), segment.bodies.clone())
        });
        calls.collect()
    }

    fn write(file: &mut IntentFile, (transcript, bodies): &Kept) {
        file.write(transcript, bodies).unwrap();
    }

    #[test]
    fn what_is_torn_takes_nothing_with_it_that_was_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("intent");
        assert_eq!(read(&path), None);
        let mut file = IntentFile::at(path.clone());
        let before = turn(1, 5);
        before.iter().for_each(|kept| write(&mut file, kept));
        assert_eq!(read(&path), before.last().cloned());
        let mut whole = vec![(0, None)];
        for kept in turn(2, 3) {
            write(&mut file, &kept);
            whole.push((fs::metadata(&path).unwrap().len(), Some(kept.clone())));
            assert_eq!(read(&path), Some(kept));
        }
        let bytes = fs::read(&path).unwrap();
        for end in 0..bytes.len() {
            fs::write(&path, &bytes[..end]).unwrap();
            let (_, expected) = whole.iter().rfind(|(len, _)| *len <= end as u64).unwrap();
            assert_eq!(read(&path), *expected, "{end}");
        }
    }

    #[test]
    fn a_call_costs_what_is_new_and_not_what_came_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("intent");
        let mut file = IntentFile::at(path.clone());
        let all = turn(1, 50);
        all.iter().for_each(|kept| write(&mut file, kept));
        let (transcript, bodies) = all.last().unwrap();
        let once = transcript.len() + bodies.iter().map(|(_, body)| body.len()).sum::<usize>();
        assert!(fs::metadata(&path).unwrap().len() < 2 * once as u64);
    }

    #[test]
    fn a_turn_never_goes_on_with_what_another_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("intent");
        let (first, second) = (turn(1, 2), turn(2, 1));
        let mut file = IntentFile::at(path.clone());
        write(&mut file, &first[0]);
        let begun = fs::read(&path).unwrap().len();
        write(&mut file, &first[1]);
        let tail = fs::read(&path).unwrap().split_off(begun);
        write(&mut file, &second[0]);
        // As after a truncation that the disk does not have.
        let bytes = [fs::read(&path).unwrap(), tail].concat();
        fs::write(&path, bytes).unwrap();
        assert_eq!(read(&path), Some(second[0].clone()));
        // Another file of the same lease begins anew, whatever stands there.
        write(&mut IntentFile::at(path.clone()), &second[0]);
        assert_eq!(read(&path), Some(second[0].clone()));
        assert!(file.write(b"", &Bodies::new()).is_err());
        assert_eq!(read(&path), Some(second[0].clone()));
    }
}
