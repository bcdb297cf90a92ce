use std::fmt;

use daee_types::Fault;

/// How a turn ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should; what it did is kept.
    Done,
    /// The agent asked for it to be rolled back.
    RolledBack {
        /// What `daee_turn` returned.
        code: i32,
    },
    /// The guest did what WebAssembly forbids.
    Trap {
        /// What.
        what: String,
    },
    /// The fuel of one turn was used up.
    Fuel,
    /// The wall time of one turn was used up; the cell was killed.
    Wall,
    /// The guest trapped after its memory was not allowed to grow.
    Memory,
    /// The guest trapped after a table was not allowed to grow.
    Table,
    /// The guest's calls were too deep.
    Stack,
    /// The program ended. With code 0 what the turn did is kept; the next turn starts it again.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// The cell died, or said what no cell says and was killed.
    Killed {
        /// As far as is known.
        why: String,
    },
    /// The process of the node ended while the turn ran.
    Lost,
}

impl Outcome {
    /// Whether state, timers, effects and answer of the turn stay.
    pub fn is_kept(&self) -> bool {
        matches!(self, Self::Done | Self::Exited { code: 0 })
    }

    /// Whose doing it is; nobody's if the turn went well.
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Done | Self::Exited { code: 0 } => None,
            Self::Killed { .. } | Self::Lost => Some(Fault::Node),
            _ => Some(Fault::Developer),
        }
    }

    /// Whether every machine of this runtime version ends the same turn the same way. The others are
    /// observed: a replay drops them and no verdict rests on them (DESIGN 5).
    pub fn reproducible(&self) -> bool {
        !matches!(self, Self::Wall | Self::Killed { .. } | Self::Lost)
    }

    /// The number that the transcript holds.
    pub fn number(&self) -> u8 {
        match self {
            Self::Done => 0,
            Self::RolledBack { .. } => 1,
            Self::Trap { .. } => 2,
            Self::Fuel => 3,
            Self::Wall => 4,
            Self::Memory => 5,
            Self::Stack => 6,
            Self::Exited { .. } => 7,
            Self::Killed { .. } => 8,
            Self::Table => 9,
            Self::Lost => 10,
        }
    }

    /// What the transcript says of an outcome that a replay does not come to, beside its number.
    pub(crate) fn why(&self) -> &str {
        match self {
            Self::Killed { why } => why,
            _ => "",
        }
    }

    /// The observed outcome that the transcript tells of so; none if it is not one.
    pub(crate) fn observed(number: u8, why: &str) -> Option<Self> {
        let outcome = match number {
            4 => Self::Wall,
            8 => Self::Killed { why: why.to_owned() },
            10 => Self::Lost,
            _ => return None,
        };
        (outcome.why() == why).then_some(outcome)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => write!(f, "done"),
            Self::RolledBack { code } => write!(f, "rolled back by the agent with code {code}"),
            Self::Trap { what } => write!(f, "trap: {what}"),
            Self::Fuel => write!(f, "the fuel of one turn was used up"),
            Self::Wall => write!(f, "the wall time of one turn was used up"),
            Self::Memory => write!(f, "memory: the agent failed after it got no more of it"),
            Self::Table => write!(f, "table: the agent failed after a table could not grow"),
            Self::Stack => write!(f, "the call stack is exhausted"),
            Self::Exited { code } => write!(f, "the program ended with code {code}"),
            Self::Killed { why } => write!(f, "the cell died: {why}"),
            Self::Lost => write!(f, "the node stopped while it ran"),
        }
    }
}
