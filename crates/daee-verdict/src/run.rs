use daee_types::{DeploymentId, EpochId, LogRoot, ManifestHash, StateRoot, TranscriptRoot};

use crate::{Group, Name, Report};

/// What came of running a recording again. Whoever has a sandbox runs it; here it is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Which agent it says it is of.
    pub deployment: DeploymentId,
    /// Which lease of it.
    pub epoch: EpochId,
    /// How it ended.
    pub end: RunEnd,
}

/// How a recording that was run again ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// As it says.
    Same(Ran),
    /// Something is not as it says.
    Differs(Difference),
    /// It could not be run to its end.
    CannotRun {
        /// Why.
        why: String,
        /// What to do.
        fix: &'static str,
    },
}

/// What was run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Where it stood before the first turn.
    pub from: Mark,
    /// Where it stood behind the last.
    pub to: Mark,
    /// How many turns were run.
    pub turns: u64,
    /// Operations in them.
    pub calls: u64,
    /// Turns that ended as no replay ends.
    pub observed: u64,
}

/// Where an agent stands between two turns, as a checkpoint says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Turns handled.
    pub turn: u64,
    /// Its state.
    pub state: StateRoot,
    /// Its log.
    pub log: LogRoot,
    /// The chain of entries.
    pub transcript: TranscriptRoot,
    /// Fuel used in its life.
    pub fuel: u64,
}

/// The first thing that is not as a recording says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What.
    pub what: Differing,
    /// The turn.
    pub turn: u64,
    /// Its place in the turn, from 0, if it is about a call.
    pub call: Option<u32>,
    /// The same in words, with what is recorded and what was found.
    pub words: String,
}

/// What can differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Differing {
    /// What came next.
    Operation,
    /// What an operation was asked.
    Input,
    /// What an operation came to.
    Result,
    /// The form of an answer from outside.
    Answer,
    /// The form of an event.
    Event,
    /// How a turn ended.
    Outcome,
    /// Fuel.
    Fuel,
    /// What the agent was held to.
    Limits,
    /// State root.
    State,
    /// Log root.
    Log,
    /// The chain of entries.
    Transcript,
    /// Module or manifest.
    Package,
}

impl Differing {
    fn rule(self) -> &'static str {
        match self {
            Self::Operation => "DAEE-J001",
            Self::Input => "DAEE-J002",
            Self::Result => "DAEE-J003",
            Self::Answer => "DAEE-J004",
            Self::Event => "DAEE-J005",
            Self::Outcome => "DAEE-J006",
            Self::Fuel => "DAEE-J007",
            Self::Limits => "DAEE-J008",
            Self::State => "DAEE-J009",
            Self::Log => "DAEE-J010",
            Self::Transcript => "DAEE-J011",
            Self::Package => ANOTHER_PACKAGE,
        }
    }
}

const ANOTHER_PACKAGE: &str = "DAEE-J012";

impl Report {
    /// Makes the report on a package, which must be verified, one on a recording of it.
    pub fn of_recording(package: Self, recording: Name) -> Self {
        Self { kind: Group::Run, subject: recording, ..package }
    }

    /// Says that the recording cannot be read.
    pub fn no_recording(&mut self, why: impl std::fmt::Display) {
        self.say("DAEE-J014", None, why.to_string());
    }

    /// Whether a recording that says it is of this package is. It need not be run if not.
    pub fn is_of_package(&mut self, recorded: &ManifestHash) -> bool {
        let Some(manifest) = &self.manifest else { return false };
        let own = manifest.manifest_hash();
        if own == *recorded {
            return true;
        }
        let message = format!(
            "the recording is of the package with manifest hash {recorded}, and the one given has {own}"
        );
        self.say(ANOTHER_PACKAGE, None, message);
        false
    }

    /// Judges what came of running a recording again. The last of `expected` has to be the state that it leads to;
    /// of several, the first has to be the one that it begins with.
    pub fn judge_run(&mut self, run: &Run, expected: &[StateRoot]) {
        self.facts
            .extend([("deployment", run.deployment.to_string()), ("epoch", run.epoch.to_string())]);
        match &run.end {
            RunEnd::Same(ran) => self.ran(ran, expected),
            RunEnd::Differs(Difference { what, turn, call, words }) => {
                self.facts.push(("differs_turn", turn.to_string()));
                self.facts.extend(call.map(|call| ("differs_call", call.to_string())));
                self.say(what.rule(), None, words.clone());
            }
            RunEnd::CannotRun { why, fix } => {
                self.fail_by("DAEE-J020", format!("{why}: {fix}"));
            }
        }
    }

    fn ran(&mut self, ran: &Ran, expected: &[StateRoot]) {
        self.facts.extend([
            ("from_turn", ran.from.turn.to_string()),
            ("from_state_root", ran.from.state.to_string()),
            ("from_log_root", ran.from.log.to_string()),
            ("from_transcript_root", ran.from.transcript.to_string()),
            ("from_fuel", ran.from.fuel.to_string()),
            ("turn", ran.to.turn.to_string()),
            ("state_root", ran.to.state.to_string()),
            ("log_root", ran.to.log.to_string()),
            ("transcript_root", ran.to.transcript.to_string()),
            ("fuel", ran.to.fuel.to_string()),
            ("turns", ran.turns.to_string()),
            ("calls", ran.calls.to_string()),
            ("observed", ran.observed.to_string()),
        ]);
        let ends = [
            (
                "begins with",
                expected.split_last().and_then(|(_, before)| before.first()),
                &ran.from,
            ),
            ("leads to", expected.last(), &ran.to),
        ];
        for (verb, root, Mark { state, .. }) in ends {
            if let Some(root) = root.filter(|root| *root != state) {
                let message = format!("it {verb} {state}, and {root} was expected");
                self.say("DAEE-J013", None, message);
            }
        }
        if ran.turns == 0 {
            let why = "it holds no turn, so nothing was run again: fetch one that does";
            self.fail_by("DAEE-J020", why.to_owned());
        }
        if expected.is_empty() {
            let message = "nothing to compare the states with: name --expect-state-root";
            self.say("DAEE-J015", None, message);
        }
        if ran.observed > 0 {
            let message = format!(
                "{} of {} turns ended by the clock or with their cell: what they did was dropped, and that \
                 they did is the node's word",
                ran.observed, ran.turns
            );
            self.say("DAEE-J016", None, message);
        }
    }
}
