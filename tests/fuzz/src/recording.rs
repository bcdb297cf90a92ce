use daee_runtime::{Recording, Snapshot};
use daee_transcript::{Entry, LogLine, Progress, Transcript};
use daee_types::{ByteSize, sha256};

/// The input as what follows a lease: a recording, with its true checksum too, for no fuzzer guesses one; a
/// snapshot; a transcript; an entry; a line; where an agent has come to. What is read is written as it was.
pub fn run(input: &[u8]) -> bool {
    let summed = [input, &sha256(input)].concat();
    let recordings = [input, &summed].into_iter().filter(|bytes| {
        let read = Recording::decode(bytes);
        read.is_ok_and(|read| {
            assert!(read.encode() == **bytes, "a recording is written in another way");
            let _ = Transcript::default().follow(&read.transcript);
            let _ = Snapshot::decode(&read.snapshot);
            true
        })
    });
    let mut accepted = recordings.count();
    if let Ok(read) = Snapshot::decode(input) {
        let again = read.encode();
        assert!(Snapshot::decode(&again).is_ok_and(|again| again == read), "another snapshot");
        accepted += 1;
    }
    let mut transcript = Transcript::default();
    if transcript.follow(input).is_ok_and(|entries| !entries.is_empty()) {
        accepted += 1;
    }
    if let Ok(read) = Entry::decode(input) {
        assert!(read.encode() == input, "an entry is written in another way");
        accepted += 1;
    }
    if let Ok(read) = LogLine::decode(input) {
        assert!(read.encode() == input, "a line is written in another way");
        accepted += 1;
    }
    if let Ok(read) = Progress::decode(input) {
        assert!(read.encode() == input, "progress is written in another way");
        accepted += 1;
    }
    accepted > 0
}

pub fn seeds() -> Vec<Vec<u8>> {
    let (recording, transcript) = crate::door::recorded();
    let mut unsummed = recording.clone();
    unsummed.truncate(recording.len() - 32);
    let entry = transcript
        .split_first_chunk::<4>()
        .map(|(len, rest)| rest[..u32::from_le_bytes(*len) as usize].to_vec());
    let snapshot = Snapshot::new(ByteSize::kib(1)).encode();
    let mut seeds = vec![unsummed, recording, snapshot, transcript, Progress::default().encode()];
    seeds.extend(entry);
    seeds
}
