use std::{ops::ControlFlow, sync::LazyLock};

use daee_artifact::Artifact;
use daee_lifecycle::{RecordingInfo, RecordingQuery};
use daee_runtime::{CannotRun, Nothing, Recording, ReplayError, Replayed, RuntimeConfig, replay};
use daee_transcript::{Entry, Frame, Segment};
use daee_types::{ArtifactHash, sha256};
use tempfile::TempDir;

use super::*;
use crate::{
    intent::IntentFile,
    recording::{self, Failed},
};

/// Keeps every turn and answers nothing.
const QUIET: &str = r#"(module (memory (export "memory") 1)
    (func (export "daee_turn") (result i32) (i32.const 0)))"#;
/// Traps in every turn.
const BROKEN: &str = r#"(module (memory (export "memory") 1)
    (func (export "daee_turn") (result i32) (unreachable)))"#;
/// Computes for some tenths of a second in every turn.
const BUSY: &str = r#"(module (memory (export "memory") 1)
    (func (export "daee_turn") (result i32) (local $left i32)
        (local.set $left (i32.const 200000000))
        (loop $on (br_if $on (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (i32.const 0)))"#;
/// A program that waits for one event after another.
const RESIDENT: &str = r#"(module
    (import "daee" "call" (func $call (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "event.next")
    (func (export "_start") (loop $on
        (drop (call $call (i32.const 0) (i32.const 10) (i32.const 0) (i32.const 0)))
        (br $on))))"#;
const FIRST: &str = "talos.test.agent@v1.0.0";
const SECOND: &str = "talos.test.agent@v2.0.0";

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Runtime::new(RuntimeConfig::in_process()).unwrap());

#[tokio::test]
async fn a_turn_without_an_answer_is_204_and_a_trap_is_the_agents_fault() {
    let quiet = World::start(QUIET, &Beginning::Start).await;
    assert!(matches!(quiet.ask().await, Ok(Reply::Answer(Answer { status: 204, .. }))));
    let broken = World::start(BROKEN, &Beginning::Start).await;
    let Ok(Reply::Failed(outcome)) = broken.ask().await else { panic!("it answered") };
    assert_eq!(outcome.fault(), Some(daee_types::Fault::Developer));
    assert!(broken.handle.face().trouble.is_some_and(|why| why.contains("trap")));
}

#[tokio::test]
async fn an_agent_that_fails_too_often_rests_and_the_node_still_seals_it() {
    let world = World::start(BROKEN, &Beginning::GoOn).await;
    for _ in 0..FAILURES_MAX {
        assert!(matches!(world.ask().await, Ok(Reply::Failed(_))));
    }
    let Ok(Reply::Resting(millis)) = world.ask().await else { panic!("it was asked again") };
    assert!((1..=REST_MILLIS).contains(&millis));
    let sealed = world.handle.seal([7; 32], false).await.unwrap();
    assert_eq!(sealed.marks.turn, u64::from(FAILURES_MAX) + 1, "the tick is a turn like any other");
}

#[tokio::test]
async fn an_agent_that_has_used_its_share_of_the_cpu_is_not_asked_and_the_node_still_seals_it() {
    let world = World::start(BUSY, &Beginning::GoOn).await;
    let mut answered = 0;
    let millis = loop {
        match world.ask().await {
            Ok(Reply::Answer(_)) => answered += 1,
            Ok(Reply::Owing(millis)) => break millis,
            _ => panic!("it neither answered nor had to wait"),
        }
        assert!(answered < 200, "a tenth of a core is never used up");
    };
    assert!(answered >= 1, "what was saved is there to be used");
    assert!(millis > OWING_MILLIS);
    let sealed = world.handle.seal([7; 32], false).await.unwrap();
    assert_eq!(sealed.marks.turn, answered + 1);
}

#[tokio::test]
async fn what_is_sealed_is_what_another_node_reads() {
    let world = World::start(QUIET, &Beginning::Start).await;
    assert!(world.ask().await.is_ok());
    let sealed = world.handle.seal([7; 32], false).await.unwrap();
    let (version, snapshot) = envelope::read(&sealed.checkpoint).unwrap();
    assert_eq!(version.artifact, sealed.marks.artifact);
    assert_eq!(snapshot.state.root(), sealed.marks.state_root);
    assert_eq!(snapshot.progress.turn, 3, "start, a request, a tick");
}

#[tokio::test]
async fn a_version_whose_first_turn_fails_leaves_the_old_one_as_it_was() {
    let world = World::start(QUIET, &Beginning::Start).await;
    let before = world.handle.look().await.unwrap();
    let error = world.handle.upgrade(plan(BROKEN, SECOND, 2), FIRST.into()).await.unwrap_err();
    assert!(error.contains("first turn was not kept"), "{error}");
    assert_eq!(world.handle.look().await, Some(before));
    assert_eq!(world.handle.face().version.number, 1);
    assert!(matches!(world.ask().await, Ok(Reply::Answer(_))), "the old version answers");
}

#[tokio::test]
async fn a_version_that_is_taken_is_the_one_that_a_restart_finds() {
    let mut world = World::start(QUIET, &Beginning::Start).await;
    let next = QUIET.replace("memory\") 1", "memory\") 2");
    world.handle.upgrade(plan(&next, SECOND, 2), FIRST.into()).await.unwrap();
    assert_eq!(world.handle.face().version.number, 2);
    let marks = world.handle.look().await.unwrap().head.marks;
    world.end().await;
    let opened = AgentStore::open(world.lease()).unwrap().unwrap();
    let (Head { version, .. }, snapshot) =
        envelope::rebuild(&opened.snapshot, &opened.deltas).unwrap();
    assert_eq!(version.number, 2);
    assert_eq!(snapshot.state.root(), marks.state_root);
    assert_eq!(snapshot.progress.turn, marks.turn);
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_restart() {
    let mut world = World::start(QUIET, &Beginning::Start).await;
    for _ in 0..3 {
        assert!(world.ask().await.is_ok());
    }
    let marks = world.handle.look().await.unwrap().head.marks;
    world.end().await;
    assert_eq!(world.ask().await.err(), Some(Refused::Gone));
    let opened = AgentStore::open(world.lease()).unwrap().unwrap();
    let (_, snapshot) = envelope::rebuild(&opened.snapshot, &opened.deltas).unwrap();
    assert_eq!(snapshot.progress.turn, marks.turn);
    assert_eq!(snapshot.state.root(), marks.state_root);
}

#[tokio::test]
async fn a_restart_reads_few_turns_whatever_answers_wait_for() {
    for durability in ["local", "turn", "checkpoint"] {
        let plan = plan_of(QUIET, FIRST, 1, &format!("durability: {durability}\n"));
        let mut world = World::of(plan, &Beginning::Start);
        let turns = DELTAS_MAX + 10;
        for _ in 0..turns {
            assert!(matches!(world.ask().await, Ok(Reply::Answer(_))));
        }
        world.end().await;
        let opened = AgentStore::open(world.lease()).unwrap().unwrap();
        assert!(opened.deltas.len() < 20, "{durability}: {}", opened.deltas.len());
        let (_, snapshot) = envelope::rebuild(&opened.snapshot, &opened.deltas).unwrap();
        assert_eq!(snapshot.progress.turn, u64::from(turns) + 1, "{durability}: start is one too");
    }
}

#[tokio::test]
async fn a_program_in_memory_is_born_anew_so_that_a_replay_stays_short() {
    let mut plan = plan_of(RESIDENT, FIRST, 1, "run: resident\n");
    plan.replay.rebirth_turns = 10;
    let mut world = World::of(plan, &Beginning::Start);
    for _ in 0..25 {
        assert!(matches!(world.ask().await, Ok(Reply::Answer(_))));
    }
    assert_eq!(world.handle.face().restarts, 0, "nobody has to know");
    assert_eq!(world.births(), [(0, 0), (10, 10), (20, 20)]);
    world.end().await;
    // What comes after a restart of the node begins with a birth, too.
    let opened = AgentStore::open(world.lease()).unwrap().unwrap();
    let (_, snapshot) = envelope::rebuild(&opened.snapshot, &opened.deltas).unwrap();
    let mut plan = plan_of(RESIDENT, FIRST, 1, "run: resident\n");
    plan.launch.snapshot = snapshot;
    world.again(plan, Kept::There(Box::new(opened.store), opened.reader));
    assert!(matches!(world.ask().await, Ok(Reply::Answer(_))));
    assert_eq!(world.births(), [(0, 0), (10, 10), (20, 20), (26, 26)]);
}

#[tokio::test]
async fn an_agent_without_events_hibernates_and_the_next_one_wakes_it() {
    let mut plan = plan_of(QUIET, FIRST, 1, "");
    plan.hibernate_after_millis = 1;
    let world = World::of(plan, &Beginning::Start);
    while world.births_in_all().await < 3 {
        assert!(matches!(world.ask().await, Ok(Reply::Answer(_))));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(world.handle.face().restarts, 0, "nobody has to know");
    let mut plan = plan_of(RESIDENT, FIRST, 1, "run: resident\n");
    plan.hibernate_after_millis = 1;
    let world = World::of(plan, &Beginning::Start);
    for _ in 0..5 {
        assert!(matches!(world.ask().await, Ok(Reply::Answer(_))));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(world.births_in_all().await, 1, "its memory would be lost");
}

#[tokio::test]
async fn a_program_in_memory_whose_record_grows_fast_is_born_anew_early() {
    let mut plan = plan_of(RESIDENT, FIRST, 1, "run: resident\n");
    plan.replay.record_max = ByteSize(4_000);
    let world = World::of(plan, &Beginning::Start);
    for _ in 0..60 {
        assert!(matches!(world.ask().await, Ok(Reply::Answer(_))));
    }
    let starts = world.handle.logs.starts();
    assert!(starts.last() > Some(&30), "{starts:?}");
    let upto = world.handle.look().await.unwrap().record;
    for start in starts {
        assert!(!world.handle.logs.recorded(start, upto).unwrap().transcript.is_empty());
    }
}

#[tokio::test]
async fn a_reactor_can_be_replayed_from_each_of_its_bases() {
    let world = World::start(QUIET, &Beginning::Start).await;
    for _ in 0..DELTAS_MAX + 10 {
        assert!(matches!(world.ask().await, Ok(Reply::Answer(_))));
    }
    let Standing { head: Head { marks, .. }, record } = world.handle.look().await.unwrap();
    let starts = world.handle.logs.starts();
    let [0, base] = starts[..] else { panic!("{starts:?}") };
    let head = world.handle.logs.start(base, Some(envelope::BASE_HEAD)).unwrap().unwrap();
    assert_eq!(envelope::read_base_head(&head).unwrap().marks.turn, base);
    assert_eq!((marks.turn, record), (u64::from(DELTAS_MAX) + 11, u64::from(DELTAS_MAX) + 11));
}

#[tokio::test]
async fn a_new_version_can_be_replayed_from_where_it_began() {
    let world = World::start(QUIET, &Beginning::Start).await;
    assert!(world.ask().await.is_ok());
    let before = world.handle.look().await.unwrap().head.marks;
    let next = QUIET.replace("memory\") 1", "memory\") 2");
    world.handle.upgrade(plan(&next, SECOND, 2), FIRST.into()).await.unwrap();
    let heads = world.handle.logs.starts().into_iter().map(|start| {
        let head = world.handle.logs.start(start, Some(envelope::BASE_HEAD)).unwrap().unwrap();
        let Head { marks, version, .. } = envelope::read_base_head(&head).unwrap();
        (start, marks, version.number)
    });
    let heads: Vec<_> = heads.collect();
    assert_eq!((heads[0].0, heads[0].2), (0, 1));
    // Where the old one ended, as it ended.
    assert_eq!(heads[1], (2, before, 2));
    assert_eq!((heads[2].0, heads[2].1.turn, heads[2].2), (3, 3, 2));
}

#[tokio::test]
async fn what_ran_can_be_run_again_while_it_runs_and_afterwards() {
    for (wat, more) in [(QUIET, ""), (BROKEN, ""), (RESIDENT, "run: resident\n")] {
        let plan = || {
            let mut plan = plan_of(wat, FIRST, 1, more);
            plan.replay.rebirth_turns = 7;
            plan
        };
        let mut world = World::of(plan(), &Beginning::GoOn);
        for _ in 0..4 {
            world.ask().await.unwrap();
        }
        let now = world.handle.look().await.unwrap();
        let query = RecordingQuery::default();
        let info = world.record(now, query).unwrap();
        assert_eq!((info.from, info.to), (1, 4), "{more}");
        assert_eq!(info.state_root, now.head.marks.state_root);
        assert_eq!(world.again_as(plan(), &info).unwrap().turns, 4);
        for _ in 0..10 {
            world.ask().await.unwrap();
        }
        world.end().await;
        let (_, reader, now) = recording::of_the_past(world.lease()).unwrap().unwrap();
        assert_eq!(now.head.marks.turn, reader.last().unwrap());
        let from = if more.is_empty() { 0 } else { 7 };
        let info = world.record(now, RecordingQuery { from: Some(9), ..query }).unwrap();
        assert_eq!((info.from, info.to), (from + 1, now.head.marks.turn), "{more}");
        let replayed = world.again_as(plan(), &info).unwrap();
        assert_eq!(replayed.to.state_root, info.state_root);
        // Nobody writes what there is of it.
        let bytes = std::fs::read(world.recording(&info)).unwrap();
        assert_eq!(sha256(&bytes), info.sha256);
        assert_eq!(bytes.len() as u64, info.bytes);
    }
}

#[tokio::test]
async fn each_version_is_run_again_with_its_own_package() {
    let next = QUIET.replace("memory\") 1", "memory\") 2");
    let world = World::start(QUIET, &Beginning::Start).await;
    world.ask().await.unwrap();
    world.handle.upgrade(plan(&next, SECOND, 2), FIRST.into()).await.unwrap();
    world.ask().await.unwrap();
    let now = world.handle.look().await.unwrap();
    let first = world.record(now, RecordingQuery { from: Some(1), to: None }).unwrap();
    assert_eq!((first.version, first.from, first.to), (1, 1, 2));
    let second = world.record(now, RecordingQuery::default()).unwrap();
    assert_eq!((second.version, second.from, second.to), (2, 3, 4));
    assert_eq!(world.again_as(plan(QUIET, FIRST, 1), &first).unwrap().turns, 2);
    assert_eq!(world.again_as(plan(&next, SECOND, 2), &second).unwrap().turns, 2);
    let other = world.again_as(plan(QUIET, FIRST, 1), &second).unwrap_err();
    assert_eq!(other, ReplayError::CannotRun(CannotRun::Package));
}

#[tokio::test]
async fn an_upgrade_that_the_disk_has_half_of_ends_the_agent_and_the_old_version_goes_on_from_there()
 {
    let next = QUIET.replace("memory\") 1", "memory\") 2");
    let mut world = World::start(QUIET, &Beginning::Start).await;
    world.ask().await.unwrap();
    let away = world.dir.path().join("away");
    std::fs::rename(world.lease(), &away).unwrap();
    world.handle.upgrade(plan(&next, SECOND, 2), FIRST.into()).await.unwrap_err();
    world.end().await;
    assert!(matches!(world.words.recv().await, Some(Told::Ended(_))));
    std::fs::rename(&away, world.lease()).unwrap();
    let opened = AgentStore::open(world.lease()).unwrap().unwrap();
    let (head, snapshot) = envelope::rebuild(&opened.snapshot, &opened.deltas).unwrap();
    assert_eq!((head.version.number, opened.deltas.len()), (1, 3));
    let mut plan = plan(QUIET, FIRST, 1);
    plan.launch.snapshot = snapshot;
    world.again(plan, Kept::There(Box::new(opened.store), opened.reader));
    world.ask().await.unwrap();
    assert_eq!(world.handle.look().await.unwrap().head.marks.turn, 4);
}

#[tokio::test]
async fn a_turn_that_the_node_did_not_live_to_end_is_run_again_as_far_as_it_came() {
    let mut world = World::start(QUIET, &Beginning::Start).await;
    world.ask().await.unwrap();
    world.end().await;
    // As it was kept before something outside was done in turn 3.
    let mut segment = Segment::default();
    let frame = Event::Start.frame(3, Timestamp(9));
    let frame = Frame::of(&frame, &mut segment.bodies);
    segment.push(&Entry::Event { turn: 3, at: Timestamp(9), frame });
    let (transcript, bodies) = segment.finish();
    let path = world.dir.path().join("intent");
    IntentFile::at(path.clone()).write(&transcript, &bodies).unwrap();
    let opened = AgentStore::open(world.lease()).unwrap().unwrap();
    let (_, snapshot) = envelope::rebuild(&opened.snapshot, &opened.deltas).unwrap();
    let mut plan = plan(QUIET, FIRST, 1);
    (plan.launch.snapshot, plan.intent) = (snapshot, Some(path));
    world.again(plan, Kept::There(Box::new(opened.store), opened.reader));
    world.ask().await.unwrap();
    let now = world.handle.look().await.unwrap();
    assert_eq!(now.head.marks.turn, 4);
    let info = world.record(now, RecordingQuery::default()).unwrap();
    let replayed = world.again_as(super::tests::plan(QUIET, FIRST, 1), &info).unwrap();
    assert_eq!((replayed.turns, replayed.observed), (4, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_node_waits_behind_no_request_and_nothing_runs_behind_the_last_turn() {
    let world = World::start(BUSY, &Beginning::GoOn).await;
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let handle = world.handle.clone();
        asked.spawn(async move { handle.request(request()).await });
    }
    let sealed = world.handle.seal([7; 32], true).await.unwrap();
    assert!(sealed.marks.turn < 20, "{}", sealed.marks.turn);
    assert_eq!(world.ask().await.err(), Some(Refused::Gone));
    while let Some(answer) = asked.join_next().await {
        assert!(matches!(
            answer.unwrap(),
            Ok(Reply::Answer(_) | Reply::Owing(_)) | Err(Refused::Gone)
        ));
    }
    assert_eq!(world.handle.look().await.unwrap().head.marks, sealed.marks);
}

struct World {
    handle: AgentHandle,
    thread: Option<JoinHandle<()>>,
    dir: TempDir,
    lease: PathBuf,
    words: mpsc::UnboundedReceiver<Told>,
}

impl World {
    async fn start(wat: &str, beginning: &Beginning) -> Self {
        Self::of(plan(wat, FIRST, 1), beginning)
    }

    fn of(plan: Plan, beginning: &Beginning) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let lease = dir.path().join(hex_of(&plan.epoch));
        let kept = Kept::Fresh(lease.clone());
        let (told, words) = mpsc::unbounded_channel();
        let (handle, thread) = start(&RUNTIME, plan, kept, beginning, told).unwrap();
        Self { handle, thread: Some(thread), dir, lease, words }
    }

    async fn ask(&self) -> Result<Reply, Refused> {
        self.handle.request(request()).await
    }

    /// Where recordings may begin: the record, and the turn of the birth behind it.
    fn births(&self) -> Vec<(u64, u64)> {
        let logs = &self.handle.logs;
        let starts = logs.starts().into_iter().map(|start| {
            let bytes = logs.recorded(start, start + 1).unwrap().transcript;
            let entry = &bytes[4..4 + u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize];
            let Ok(Entry::Birth { turn, .. }) = Entry::decode(entry) else { panic!("no birth") };
            (start, turn)
        });
        starts.collect()
    }

    fn lease(&self) -> &Path {
        &self.lease
    }

    fn record(&self, now: Standing, query: RecordingQuery) -> Result<RecordingInfo, Failed> {
        let epoch = EpochId::new([1; 32]);
        recording::make(self.dir.path(), DeploymentId(1), epoch, &self.handle.logs, now, query)
    }

    fn recording(&self, info: &RecordingInfo) -> PathBuf {
        recording::path(self.dir.path(), DeploymentId(1), &info.sha256)
    }

    fn again_as(&self, plan: Plan, info: &RecordingInfo) -> Result<Replayed, ReplayError> {
        let bytes = std::fs::read(self.recording(info)).unwrap();
        let recording = Recording::decode(&bytes).unwrap();
        replay(&RUNTIME, plan.launch, &recording, |_| ControlFlow::Continue(()))
    }

    /// How often it was born, by all that is recorded.
    async fn births_in_all(&self) -> usize {
        let upto = self.handle.look().await.unwrap().record;
        let recorded = self.handle.logs.recorded(0, upto).unwrap().transcript;
        let (mut rest, mut births) = (&recorded[..], 0);
        while let Some((len, behind)) = rest.split_first_chunk::<4>() {
            let (entry, behind) = behind.split_at(u32::from_le_bytes(*len) as usize);
            births += usize::from(matches!(Entry::decode(entry), Ok(Entry::Birth { .. })));
            rest = behind;
        }
        births
    }

    /// The same lease once more.
    fn again(&mut self, plan: Plan, kept: Kept) {
        let (told, words) = mpsc::unbounded_channel();
        let (handle, thread) = start(&RUNTIME, plan, kept, &Beginning::GoOn, told).unwrap();
        (self.handle, self.thread, self.words) = (handle, Some(thread), words);
    }

    async fn end(&mut self) {
        self.handle.end().await;
        self.thread.take().unwrap().join().unwrap();
    }
}

fn hex_of(epoch: &EpochId) -> String {
    epoch.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn request() -> Request {
    Request {
        method: "GET".into(),
        path: "/".into(),
        query: String::new(),
        headers: Vec::new(),
        body: Vec::new(),
    }
}

fn plan(wat: &str, agent_id: &str, number: u32) -> Plan {
    plan_of(wat, agent_id, number, "")
}

fn plan_of(wat: &str, agent_id: &str, number: u32, more: &str) -> Plan {
    let wasm = wat::parse_str(wat).unwrap();
    let hash = ArtifactHash::of(&wasm);
    let artifact = Artifact::fetched(wasm).verify(&hash).unwrap();
    let yaml = format!(
        "agent_id: \"{agent_id}\"\nresources:\n  cpu: \"0.1\"\n  memory: \"16MiB\"\n\
         entry_point: \"a.wasm\"\nartifact_hash: \"{hash}\"\n{more}"
    );
    let manifest = Manifest::read(yaml.as_bytes()).unwrap();
    let style = more.contains("resident").then_some(RunStyle::Resident);
    let version = Version { number, artifact: hash, body: manifest.body_hash() };
    let launch = Launch {
        manifest: *manifest.manifest_hash().as_bytes(),
        ..Launch::new(RUNTIME.prepare(&artifact, style).unwrap())
    };
    Plan {
        id: DeploymentId(1),
        epoch: EpochId::new([1; 32]),
        version,
        manifest: Arc::new(manifest),
        launch,
        outside: Box::new(Nothing(Timestamp(0))),
        intent: None,
        replay: Replay { rebirth_turns: 1_000, record_max: ByteSize::mib(128) },
        hibernate_after_millis: 60_000,
    }
}
