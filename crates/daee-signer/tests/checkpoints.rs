//! One signature for one place, whatever happens in between.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use daee_signer::{CheckpointSigner, Key, recover};
use daee_types::{
    Address, ArtifactHash, Checkpoint, Coded as _, DeploymentId, Domain, EpochId, LeafHash,
    LogRoot, Sign, SignError, Signature, StateRoot, TranscriptRoot, Word,
};

const DOMAIN: Domain = Domain { chain_id: 31337, manager: Address([7; 20]) };
const SECRET: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

fn key() -> Arc<Key> {
    Arc::new(Key::from_hex(SECRET).unwrap())
}

fn open(path: &Path) -> CheckpointSigner {
    CheckpointSigner::open(key(), path, DOMAIN).unwrap()
}

fn leaf(deployment: u64, epoch: u8, seq: u64, fuel: u64) -> Checkpoint {
    Checkpoint {
        deployment: DeploymentId(deployment),
        epoch: EpochId::new([epoch; 32]),
        seq,
        prev_leaf_hash: LeafHash::ZERO,
        turn: seq,
        pre_root: StateRoot::ZERO,
        state_root: StateRoot::new([3; 32]),
        log_root: LogRoot::new([4; 32]),
        transcript_root: TranscriptRoot::new([5; 32]),
        artifact_hash: ArtifactHash::new([6; 32]),
        runtime_version: 1,
        fuel,
        covered_seconds: 0,
    }
}

#[test]
fn a_place_is_signed_for_one_leaf_only_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("marks");
    let signer = open(&path);
    let first = signer.sign(&leaf(1, 1, 1, 10)).unwrap();
    let check = |signer: &CheckpointSigner, leaf: Checkpoint, want: Result<Signature, &str>| {
        assert_eq!(signer.sign(&leaf).map_err(|error| error.code()), want);
    };
    check(&signer, leaf(1, 1, 1, 10), Ok(first));
    check(&signer, leaf(1, 1, 1, 11), Err("DAEE-S001"));
    check(&signer, leaf(1, 1, 0, 10), Err("DAEE-S001"));
    drop(signer);

    let signer = open(&path);
    check(&signer, leaf(1, 1, 1, 11), Err("DAEE-S001"));
    check(&signer, leaf(1, 1, 1, 10), Ok(first));
    signer.sign(&leaf(1, 1, 5, 10)).unwrap();
    // Below the mark nothing is known any more, so nothing is signed.
    check(&signer, leaf(1, 1, 1, 10), Err("DAEE-S001"));
    check(&signer, leaf(1, 1, 3, 10), Err("DAEE-S001"));
    assert_eq!(
        signer.mark(DeploymentId(1), EpochId::new([1; 32])),
        Some((5, leaf(1, 1, 5, 10).leaf_hash()))
    );
}

#[test]
fn leases_do_not_stand_in_each_others_way() {
    let dir = tempfile::tempdir().unwrap();
    let signer = open(&dir.path().join("marks"));
    signer.sign(&leaf(1, 1, 9, 1)).unwrap();
    signer.sign(&leaf(1, 2, 1, 2)).unwrap();
    signer.sign(&leaf(2, 1, 1, 3)).unwrap();
    assert_eq!(signer.mark(DeploymentId(3), EpochId::new([1; 32])), None);
}

#[test]
fn many_leaves_are_judged_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let signer = open(&dir.path().join("marks"));
    let leaves =
        [leaf(1, 1, 1, 1), leaf(1, 1, 1, 2), leaf(2, 1, 1, 1), leaf(1, 1, 2, 1), leaf(1, 1, 1, 1)];
    let answers = signer.sign_all(&leaves);
    let codes: Vec<_> = answers.iter().map(|a| a.as_ref().err().map(|e| e.code())).collect();
    assert_eq!(codes, [None, Some("DAEE-S001"), None, None, Some("DAEE-S001")]);
    for (leaf, answer) in leaves.iter().zip(&answers) {
        if let Ok(signature) = answer {
            let digest = DOMAIN.digest(leaf.leaf_hash().as_bytes());
            assert_eq!(recover(&digest, signature), Some(key().address()));
        }
    }
    assert!(signer.sign_all(&[]).is_empty());
}

/// A key whose process dies as it is about to sign: the mark is made, the signature is not.
struct Cut(Arc<Key>, AtomicBool);

impl Sign for Cut {
    fn address(&self) -> Address {
        self.0.address()
    }
    fn sign(&self, digest: &Word) -> Result<Signature, SignError> {
        if self.1.load(Ordering::SeqCst) {
            return Err(SignError::Unavailable("the power is cut".to_owned()));
        }
        self.0.sign(digest)
    }
}

#[test]
fn a_mark_without_its_signature_still_holds_the_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("marks");
    let cut = Arc::new(Cut(key(), AtomicBool::new(true)));
    let signer = CheckpointSigner::open(cut, &path, DOMAIN).unwrap();
    assert_eq!(signer.sign(&leaf(1, 1, 1, 1)).unwrap_err().code(), "DAEE-S002");
    drop(signer);

    let signer = open(&path);
    assert_eq!(signer.sign(&leaf(1, 1, 1, 2)).unwrap_err().code(), "DAEE-S001");
    assert!(signer.sign(&leaf(1, 1, 1, 1)).is_ok());
}

#[test]
fn threads_never_share_a_place() {
    let dir = tempfile::tempdir().unwrap();
    let signer = open(&dir.path().join("marks"));
    let signed: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let signer = &signer;
                let signed =
                    move |seq: &u64| signer.sign(&leaf(1, 1, *seq, 100 * thread + seq)).is_ok();
                scope.spawn(move || (1..=20).filter(signed).collect::<Vec<_>>())
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let places: std::collections::BTreeSet<_> = signed.iter().collect();
    assert_eq!(places.len(), signed.len(), "{signed:?}");
}

#[test]
fn a_second_signer_on_the_same_marks_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("marks");
    let signer = open(&path);
    let error = CheckpointSigner::open(key(), &path, DOMAIN).unwrap_err();
    assert!(error.to_string().contains("stop the other node"), "{error}");
    drop(signer);
    open(&path);
}

#[test]
fn marks_of_another_key_or_contract_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("marks");
    open(&path).sign(&leaf(1, 1, 1, 1)).unwrap();
    let other = Domain { chain_id: 1, ..DOMAIN };
    for refused in [
        CheckpointSigner::open(Arc::new(Key::generate()), &path, DOMAIN),
        CheckpointSigner::open(key(), &path, other),
    ] {
        let error = refused.unwrap_err();
        assert!(error.to_string().contains("give each its own file"), "{error}");
    }
    open(&path).sign(&leaf(1, 1, 1, 2)).unwrap_err();
}

#[test]
fn nothing_is_signed_where_the_mark_cannot_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("not there").join("marks");
    let error = CheckpointSigner::open(key(), &missing, DOMAIN).unwrap_err();
    assert_eq!(error.code(), "DAEE-S002");
    assert!(error.to_string().contains("not there"), "{error}");
}

/// Set in the child of the test below: where its marks are, and what makes its leaves differ.
const CHILD: &str = "DAEE_TEST_SIGNER_CHILD";

#[test]
fn a_signer_that_is_killed_at_any_moment_signs_no_place_twice() {
    if let Ok(job) = std::env::var(CHILD) {
        let (run, path) = job.split_once(' ').unwrap();
        sign_until_killed(run.parse().unwrap(), Path::new(path));
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("marks");
    // What went out of the process, by place.
    let mut seen: BTreeMap<u64, String> = BTreeMap::new();
    let rounds = 25_u64;
    for run in 0..rounds {
        let mut child = this_test(&format!("{run} {}", path.display()));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let reader = std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .filter(|line| line.starts_with("signed "))
                .collect::<Vec<_>>()
        });
        // Another moment each time, from before it has started to long after.
        std::thread::sleep(Duration::from_micros(1000 + run * 7919 % 60_000));
        child.kill().unwrap();
        child.wait().unwrap();
        for line in reader.join().unwrap() {
            let mut words = line.split(' ').skip(1);
            let (Some(seq), Some(signature), Some("end")) =
                (words.next(), words.next(), words.next())
            else {
                continue;
            };
            let before = seen.insert(seq.parse().unwrap(), signature.to_owned());
            assert_eq!(before, None, "place {seq} was signed twice");
        }
        let signer = open(&path);
        let mark = signer.mark(DeploymentId(1), EpochId::new([1; 32])).map_or(0, |(seq, _)| seq);
        let last = seen.last_key_value().map_or(0, |(seq, _)| *seq);
        assert!(mark >= last, "the mark is at {mark}, but {last} was signed");
    }
    assert!(seen.len() > rounds as usize, "only {} signatures were seen", seen.len());
}

/// Signs one place after another, each leaf unlike that of any other run, and says so.
fn sign_until_killed(run: u64, path: &Path) -> ! {
    let signer = open(path);
    let mut seq = 0;
    loop {
        seq += 1;
        if let Ok(signature) = signer.sign(&leaf(1, 1, seq, run)) {
            println!("signed {seq} {signature} end");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the test needs a process of its own to kill")]
fn this_test(job: &str) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_signer_that_is_killed_at_any_moment_signs_no_place_twice"])
        .args(["--nocapture"])
        .env(CHILD, job)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}
