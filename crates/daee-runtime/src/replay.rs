//! Runs a recording again and compares.

use std::fmt;
use std::ops::ControlFlow;

use daee_artifact::RunStyle;
use daee_transcript::{Body, Bounds, Entry, Frame, entries};
use daee_types::{ByteSize, Coded, Fault, Timestamp, Word, sha256};

use crate::check::{Beside, Check, Recorded};
use crate::frame::hex;
use crate::{
    Agent, Event, Launch, Limits, Marks, Nothing, Outcome, RUNTIME_VERSION, Recording, Runtime,
    Snapshot, Turned,
};

/// A recording that is as it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Where it begins. It is for the caller to compare this with a checkpoint that it trusts.
    pub from: Marks,
    /// Where it ends: its claim.
    pub to: Marks,
    /// Turns that were run again.
    pub turns: u64,
    /// Operations in them.
    pub calls: u64,
    /// Turns among them that ended as no replay ends, and on which no verdict rests.
    pub observed: u64,
}

/// One turn that was run again and is as it is recorded, except for what only the claim tells: the log and the state.
#[derive(Debug)]
pub struct Replaying<'a> {
    /// Its number.
    pub turn: u64,
    /// The number of the last.
    pub last: u64,
    /// What it came to here.
    pub turned: &'a Turned,
}

/// What differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Number of a turn.
    Turn,
    /// What came next: a call, an intent, an end, a birth.
    Operation,
    /// Input of an operation.
    Input,
    /// Code of an answer.
    Code,
    /// An answer that came from outside, as no node writes it.
    Answer,
    /// An event, as no node writes it.
    Event,
    /// How a turn ended.
    Outcome,
    /// Fuel of a turn, or of the whole life.
    Fuel,
    /// What an agent is held to.
    Limits,
    /// Module or manifest of a birth.
    Package,
    /// The state that a cell was born on, or the last.
    StateRoot,
    /// The log.
    LogRoot,
    /// The chain of entries.
    TranscriptRoot,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            What::Turn => "number of the turn",
            What::Operation => "operation",
            What::Input => "input",
            What::Code => "code",
            What::Answer => "answer from outside",
            What::Event => "event",
            What::Outcome => "outcome",
            What::Fuel => "fuel",
            What::Limits => "limits",
            What::Package => "package",
            What::StateRoot => "state root",
            What::LogRoot => "log root",
            What::TranscriptRoot => "chain of entries",
        })
    }
}

/// The first thing that is not as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The turn.
    pub turn: u64,
    /// The call's place in it, from 0, if it is about one.
    pub call: Option<u32>,
    /// What differs.
    pub what: What,
    /// What the recording says.
    pub recorded: String,
    /// What was found.
    pub found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "turn {}", self.turn)?;
        if let Some(call) = self.call {
            write!(f, ", call {call}")?;
        }
        let Self { what, recorded, found, .. } = self;
        write!(f, ": {what} is recorded as {recorded} and found to be {found}")
    }
}

/// Why a recording cannot be run here. Says nothing about whoever made it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotRun {
    /// Another runtime made it.
    #[error("it was made by runtime version {recorded}, and this is {RUNTIME_VERSION}")]
    RuntimeVersion {
        /// Which.
        recorded: u32,
    },
    /// The package is another.
    #[error("it is of another package than the one given")]
    Package,
    /// Another version of the agent begins in it: a recording ends there, and the next begins.
    #[error("another version of the agent begins behind turn {turn}")]
    Upgraded {
        /// The last turn before.
        turn: u64,
    },
    /// What a resident had in memory is not known.
    #[error(
        "a resident can only be run again from a birth of its cell, and it does not begin at one"
    )]
    NotAtBirth,
    /// Bytes that an entry holds by hash only are not there.
    #[error("the bytes with SHA-256 {} are not in it", hex(.0))]
    Missing(Word),
    /// Its agent was allowed more than is run again here.
    #[error("its agent was allowed more than is run again here: {0}")]
    Limits(&'static str),
    /// There is no agent to run it with.
    #[error("{0}")]
    Start(String),
    /// A turn ended here by no doing of its own.
    #[error("turn {turn} did not come to its end here: {outcome}")]
    Here {
        /// Which.
        turn: u64,
        /// What happened.
        outcome: Outcome,
    },
    /// The caller had enough.
    #[error("it was stopped behind turn {turn}")]
    Stopped {
        /// The last that was run.
        turn: u64,
    },
}

/// Why a recording was not run to an end that is as it claims.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The node did something else than it says.
    #[error("{0}")]
    Differs(Box<Difference>),
    /// It cannot be told.
    #[error("the recording cannot be run: {0}")]
    CannotRun(CannotRun),
    /// It is no recording of turns.
    #[error("the recording is malformed: {0}")]
    Malformed(String),
}

impl Coded for ReplayError {
    fn code(&self) -> &'static str {
        match self {
            Self::Differs(_) => "DAEE-R030",
            Self::CannotRun(_) => "DAEE-R031",
            Self::Malformed(_) => "DAEE-R032",
        }
    }
    fn fault(&self) -> Fault {
        match self {
            Self::Differs(_) | Self::Malformed(_) => Fault::Node,
            Self::CannotRun(_) => Fault::Network,
        }
    }
}

/// Most that a replay lets an agent use, whatever a recording says it was allowed.
const MOST: Bounds = Bounds {
    fuel_turn: 1 << 40,
    memory_max: ByteSize::gib(2),
    table_elements_max: 10_000_000,
    log_turn_max: ByteSize::mib(64),
    door_frame_max: ByteSize::mib(256),
    door_calls_max: 10_000_000,
    quota: ByteSize(u64::MAX),
};

/// How much slower than the node this machine may be.
const WALL_FACTOR: u64 = 10;

/// Runs a recording again. `launch` is what the package says: module, manifest, policy, environment, arguments, memory and
/// quota; everything else that decides comes from the recording, whose snapshot takes the place of the launch's, and a turn may
/// take ten times the launch's wall time. `watch` sees each turn and may end it.
///
/// Nothing in a recording is trusted. One costs a few times its own size in memory, beside what one agent may use, and the
/// fuel that it says was used, beside that of one turn and of the observed ones; each birth and each observed turn costs the
/// start of a cell.
pub fn replay(
    runtime: &Runtime,
    launch: Launch,
    recording: &Recording,
    mut watch: impl FnMut(Replaying<'_>) -> ControlFlow<()>,
) -> Result<Replayed, ReplayError> {
    let beside = Beside::of(&recording.bodies);
    let plan = Plan::of(&launch, recording, &beside)?;
    let mut agent = plan.start(runtime, launch, recording)?;
    let from = agent.marks();
    let mut done = Replayed { from, to: recording.claim, turns: 0, calls: 0, observed: 0 };
    for link in links(&recording.transcript) {
        let recorded = read(link)?;
        if let [Recorded { entry: Entry::Released { upto_turn }, .. }] = &recorded[..] {
            agent.released(*upto_turn);
            continue;
        }
        if let Some(Entry::Birth { bounds, .. }) = recorded.first().map(|first| &first.entry) {
            agent
                .born_again(bounds)
                .map_err(|error| ReplayError::CannotRun(CannotRun::Start(error.to_string())))?;
        }
        let (turn, event, at) = event(&recorded, &beside)?;
        let check = Check::new(turn, at, recorded, beside.clone());
        let observed = check.observed().is_some();
        let (turned, calls, check) = agent.run(event, at, Some(check));
        if let Some(difference) = check.and_then(Check::into_difference) {
            return Err(ReplayError::Differs(difference));
        }
        if !observed && !turned.outcome.reproducible() {
            let outcome = turned.outcome;
            return Err(ReplayError::CannotRun(CannotRun::Here { turn, outcome }));
        }
        done.turns += 1;
        done.calls += u64::from(calls);
        done.observed += u64::from(observed);
        let last = recording.claim.turn;
        if watch(Replaying { turn, last, turned: &turned }).is_break() {
            return Err(ReplayError::CannotRun(CannotRun::Stopped { turn }));
        }
    }
    compare(&recording.claim, &agent.marks())?;
    Ok(done)
}

/// What is known before anything is run.
struct Plan {
    bounds: Bounds,
    begins_at_birth: bool,
}

impl Plan {
    /// Reads all of it once: whatever can be said without running anything is said first.
    fn of(launch: &Launch, recording: &Recording, beside: &Beside) -> Result<Self, ReplayError> {
        fn cannot<T>(why: CannotRun) -> Result<T, ReplayError> {
            Err(ReplayError::CannotRun(why))
        }
        if recording.runtime_version != RUNTIME_VERSION {
            return cannot(CannotRun::RuntimeVersion { recorded: recording.runtime_version });
        }
        if recording.manifest != launch.manifest {
            return cannot(CannotRun::Package);
        }
        let mut plan = Self { bounds: recording.limits, begins_at_birth: false };
        plan.allows(launch, 0)?;
        let (mut first, mut place) = (true, Place::Between);
        for entry in entries(&recording.transcript) {
            let (entry, _) = entry.map_err(|error| ReplayError::Malformed(error.to_string()))?;
            place = place.then(&entry)?;
            if let Some(frame) = entry.given() {
                frame
                    .check(|hash| beside.find(hash))
                    .or_else(|hash| cannot(CannotRun::Missing(hash)))?;
            }
            if let Entry::Birth { turn, runtime_version, artifact_hash, manifest, bounds, .. } =
                &entry
            {
                if *runtime_version != RUNTIME_VERSION {
                    return cannot(CannotRun::RuntimeVersion { recorded: *runtime_version });
                }
                if artifact_hash != launch.module.artifact_hash() || *manifest != launch.manifest {
                    return cannot(match first {
                        true => CannotRun::Package,
                        false => CannotRun::Upgraded { turn: *turn },
                    });
                }
                let held = Self { bounds: *bounds, begins_at_birth: true };
                held.allows(launch, turn.saturating_add(1))?;
                if first {
                    plan = held;
                }
            }
            // What the host does between two turns may come before a birth.
            first &= matches!(entry, Entry::Released { .. });
        }
        if place != Place::Between {
            return Err(ReplayError::Malformed("its last turn has no end".into()));
        }
        if launch.module.style() == RunStyle::Resident && !first && !plan.begins_at_birth {
            return cannot(CannotRun::NotAtBirth);
        }
        Ok(plan)
    }

    /// Whether these bounds are those of the package, and such as are run here.
    fn allows(&self, launch: &Launch, turn: u64) -> Result<(), ReplayError> {
        let bounds = &self.bounds;
        let most = [
            (bounds.fuel_turn <= MOST.fuel_turn, "fuel of a turn"),
            (bounds.memory_max <= MOST.memory_max, "memory"),
            (bounds.table_elements_max <= MOST.table_elements_max, "elements of a table"),
            (bounds.log_turn_max <= MOST.log_turn_max, "log of a turn"),
            (bounds.door_frame_max <= MOST.door_frame_max, "size of an input or answer"),
            (bounds.door_calls_max <= MOST.door_calls_max, "operations of a turn"),
        ];
        if let Some((_, what)) = most.into_iter().find(|(fits, _)| !fits) {
            return Err(ReplayError::CannotRun(CannotRun::Limits(what)));
        }
        let packed = [
            ("memory", bounds.memory_max, launch.limits.clamped().memory_max),
            ("quota", bounds.quota, launch.quota),
        ];
        for (name, recorded, found) in packed {
            if recorded != found {
                return Err(ReplayError::Differs(Box::new(Difference {
                    turn,
                    call: None,
                    what: What::Limits,
                    recorded: format!("{name} of {recorded}"),
                    found: found.to_string(),
                })));
            }
        }
        Ok(())
    }

    fn start(
        self,
        runtime: &Runtime,
        launch: Launch,
        recording: &Recording,
    ) -> Result<Agent, ReplayError> {
        let snapshot = Snapshot::decode(&recording.snapshot)
            .map_err(|error| ReplayError::Malformed(error.to_string()))?;
        let wall_turn_millis = launch.limits.wall_turn_millis.saturating_mul(WALL_FACTOR);
        let limits = Limits::of_bounds(&self.bounds, wall_turn_millis);
        let launch = Launch { snapshot, limits, ..launch };
        let mut agent = Agent::start(runtime, launch, Box::new(Nothing::default()))
            .map_err(|error| ReplayError::CannotRun(CannotRun::Start(error.to_string())))?;
        // A life begins with a birth. Later a reactor's cell may have been there before.
        agent.newborn = self.begins_at_birth || agent.marks().turn == 0;
        Ok(agent)
    }
}

/// Where in a transcript an entry may stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Between,
    Born,
    InTurn,
}

impl Place {
    fn then(self, entry: &Entry) -> Result<Self, ReplayError> {
        match (self, entry) {
            (Place::Between, Entry::Birth { .. }) => Ok(Place::Born),
            (Place::Between, Entry::Released { .. }) => Ok(Place::Between),
            (Place::Between | Place::Born, Entry::Event { .. }) => Ok(Place::InTurn),
            (Place::InTurn, Entry::Intent { .. } | Entry::Call { .. }) => Ok(Place::InTurn),
            (Place::InTurn, Entry::End { .. }) => Ok(Place::Between),
            (_, entry) => {
                Err(ReplayError::Malformed(format!("{} has no place there", Shown(Some(entry)))))
            }
        }
    }
}

/// The entries of each turn, and each of what is between two.
fn links(transcript: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = transcript;
    std::iter::from_fn(move || {
        let mut len = 0;
        for entry in entries(rest) {
            let (entry, bytes) = entry.ok()?;
            len += 4 + bytes.len();
            if entry.closes() {
                let (link, after) = rest.split_at(len);
                rest = after;
                return Some(link);
            }
        }
        None
    })
}

fn read(link: &[u8]) -> Result<Vec<Recorded>, ReplayError> {
    let read = entries(link).map(|entry| {
        let (entry, bytes) = entry.map_err(|error| ReplayError::Malformed(error.to_string()))?;
        Ok(Recorded { entry, bytes: bytes.to_vec() })
    });
    read.collect()
}

fn event(recorded: &[Recorded], beside: &Beside) -> Result<(u64, Event, Timestamp), ReplayError> {
    let event = recorded.iter().find_map(|recorded| match &recorded.entry {
        Entry::Event { turn, at, frame } => Some((*turn, *at, frame)),
        _ => None,
    });
    let (turn, at, frame) =
        event.ok_or_else(|| ReplayError::Malformed("a turn has no event".into()))?;
    let frame = beside.whole(frame);
    let frame = frame.map_err(|hash| ReplayError::CannotRun(CannotRun::Missing(hash)))?;
    match Event::of_frame(&frame) {
        Some((event, own_turn, own_at)) if (own_turn, own_at) == (turn, at) => {
            Ok((turn, event, at))
        }
        _ => Err(ReplayError::Differs(Box::new(Difference {
            turn,
            call: None,
            what: What::Event,
            recorded: format!("{} bytes that no node writes", frame.len()),
            found: "an event of this turn".into(),
        }))),
    }
}

fn compare(claim: &Marks, found: &Marks) -> Result<(), ReplayError> {
    let marks = [
        (What::Turn, claim.turn.to_string(), found.turn.to_string()),
        (
            What::TranscriptRoot,
            claim.transcript_root.to_string(),
            found.transcript_root.to_string(),
        ),
        (What::LogRoot, claim.log_root.to_string(), found.log_root.to_string()),
        (What::StateRoot, claim.state_root.to_string(), found.state_root.to_string()),
        (What::Fuel, claim.fuel.to_string(), found.fuel.to_string()),
    ];
    match marks.into_iter().find(|(_, recorded, found)| recorded != found) {
        None => Ok(()),
        Some((what, recorded, found)) => Err(ReplayError::Differs(Box::new(Difference {
            turn: claim.turn,
            call: None,
            what,
            recorded,
            found,
        }))),
    }
}

impl Difference {
    /// Between two entries that are not the same.
    pub(crate) fn between(turn: u64, recorded: Option<&Entry>, found: &Entry) -> Self {
        let call = match found {
            Entry::Call { call, .. } | Entry::Intent { call, .. } => Some(*call),
            _ => match recorded {
                Some(Entry::Call { call, .. } | Entry::Intent { call, .. }) => Some(*call),
                _ => None,
            },
        };
        let (what, recorded, found) =
            recorded.and_then(|recorded| named(recorded, found)).unwrap_or_else(|| {
                let shown = |entry| Shown(entry).to_string();
                (What::Operation, shown(recorded), shown(Some(found)))
            });
        Self { turn, call, what, recorded, found }
    }
}

/// The first field in which two entries of one kind differ.
fn named(recorded: &Entry, found: &Entry) -> Option<(What, String, String)> {
    let mut differs = None;
    let mut look = |what: What, recorded: &dyn fmt::Display, found: &dyn fmt::Display| {
        let (recorded, found) = (recorded.to_string(), found.to_string());
        if differs.is_none() && recorded != found {
            differs = Some((what, recorded, found));
        }
    };
    match (recorded, found) {
        (
            Entry::Birth { state_root, turn, artifact_hash, manifest, bounds, .. },
            Entry::Birth {
                state_root: state_root_found,
                turn: turn_found,
                artifact_hash: artifact_found,
                manifest: manifest_found,
                bounds: bounds_found,
                ..
            },
        ) => {
            look(What::Turn, turn, turn_found);
            look(What::StateRoot, state_root, state_root_found);
            look(What::Package, artifact_hash, artifact_found);
            look(What::Package, &hex(manifest), &hex(manifest_found));
            look(What::Limits, &format!("{bounds:?}"), &format!("{bounds_found:?}"));
        }
        (Entry::Event { turn, at, .. }, Entry::Event { turn: turn_found, at: at_found, .. }) => {
            look(What::Turn, turn, turn_found);
            look(What::Event, &at.0, &at_found.0);
            look(What::Event, &"a frame in other parts", &"in two");
        }
        (
            Entry::Intent { turn, call, op, input },
            Entry::Intent { turn: turn_found, call: call_found, op: op_found, input: input_found },
        ) => {
            look(What::Turn, turn, turn_found);
            look(What::Operation, &format!("call {call}"), &format!("call {call_found}"));
            look(What::Operation, &Name(op), &Name(op_found));
            look(What::Input, &hex(input), &hex(input_found));
        }
        (
            Entry::Call { turn, call, op, input, code, answer },
            Entry::Call {
                turn: turn_found,
                call: call_found,
                op: op_found,
                input: input_found,
                code: code_found,
                answer: answer_found,
            },
        ) => {
            look(What::Turn, turn, turn_found);
            look(What::Operation, &format!("call {call}"), &format!("call {call_found}"));
            look(What::Operation, &Name(op), &Name(op_found));
            look(What::Input, &hex(input), &hex(input_found));
            look(What::Code, code, code_found);
            look(What::Answer, &Answered(answer), &Answered(answer_found));
        }
        (
            Entry::End { turn, outcome, fuel, why },
            Entry::End {
                turn: turn_found,
                outcome: outcome_found,
                fuel: fuel_found,
                why: why_found,
            },
        ) => {
            look(What::Turn, turn, turn_found);
            look(What::Outcome, &Ended(*outcome), &Ended(*outcome_found));
            look(What::Fuel, fuel, fuel_found);
            look(What::Outcome, &format!("{why:?}"), &format!("{why_found:?}"));
        }
        _ => {}
    }
    differs
}

/// An entry, or that there is none, in words.
struct Shown<'a>(Option<&'a Entry>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => write!(f, "nothing"),
            Some(Entry::Birth { .. }) => write!(f, "a birth"),
            Some(Entry::Event { .. }) => write!(f, "an event"),
            Some(Entry::Intent { op, .. }) => write!(f, "{} asked of the outside", Name(op)),
            Some(Entry::Call { op, code, .. }) => write!(f, "{} answered with {code}", Name(op)),
            Some(Entry::End { outcome, .. }) => write!(f, "the turn's end: {}", Ended(*outcome)),
            Some(Entry::Released { .. }) => write!(f, "a release of effects"),
        }
    }
}

/// The name of an operation, which a stranger may have made up.
struct Name<'a>(&'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_BYTES: usize = 64;
        let cut = self.0.floor_char_boundary(SHOWN_BYTES);
        write!(f, "{}", self.0[..cut].escape_debug())
    }
}

/// What an answer is, without what it says: it may be long, and it is a stranger's.
struct Answered<'a>(&'a Option<Frame>);

impl fmt::Display for Answered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Frame { head, body }) = self.0 else { return write!(f, "none") };
        for (name, part) in [("a head", head), (" and a body", body)] {
            let (len, hash) = match part {
                Body::Here(bytes) => (bytes.len(), sha256(bytes)),
                Body::Beside { sha256, len } => (*len as usize, *sha256),
            };
            write!(f, "{name} of {len} bytes with SHA-256 {}", hex(&hash))?;
        }
        Ok(())
    }
}

/// An outcome by its number.
struct Ended(u8);

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 11] = [
            "done",
            "rolled back by the agent",
            "trap",
            "fuel",
            "wall",
            "memory",
            "stack",
            "exited",
            "killed",
            "table",
            "lost",
        ];
        match NAMES.get(usize::from(self.0)) {
            Some(name) => write!(f, "{name}"),
            None => write!(f, "{}", self.0),
        }
    }
}
