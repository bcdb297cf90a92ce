use daee_types::{
    Address, ArtifactHash, DeploymentId, Domain, EpochId, ManifestHash, Rate, Resources, StateRoot,
    Timestamp, TokenAmount, Word,
};
use serde::{Deserialize, Serialize};

/// Bytes of a recording in one answer at most.
pub const RECORDING_PART_MAX: u32 = 4 << 20;

/// Log lines in one answer at most.
pub const LOG_LINES_MAX: u32 = 1000;

/// Where an agent is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Nodes may bid for it.
    Bidding,
    /// A node won and is fetching, verifying or restoring.
    Starting,
    /// It handles events.
    Running,
    /// Its stop turn and final checkpoint are under way.
    Stopping,
    /// It ended as its owner asked; its last checkpoint is kept.
    Stopped,
    /// It cannot run; the reason says why.
    Error,
    /// Its escrow is used up; its last checkpoint is kept.
    Exhausted,
}

/// What can be said of one deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The deployment.
    pub deployment: DeploymentId,
    /// `name@vSEMVER` of what runs.
    pub agent_id: String,
    /// Where it is in its life.
    pub phase: Phase,
    /// Why, where the phase alone does not say it.
    pub reason: Option<String>,
    /// The version that runs, counted by the contract from 1.
    pub version: u32,
    /// Its artifact.
    pub artifact_hash: ArtifactHash,
    /// Its lease, where there is one.
    pub epoch: Option<EpochId>,
    /// Account of the node that holds the lease.
    pub node: Option<Address>,
    /// Where it answers, e.g. `http://acme-oracle-7.localhost:8080/`.
    pub endpoint: Option<String>,
    /// Turns handled in its life, rolled-back ones included.
    pub turn: u64,
    /// Its state after the last turn.
    pub state_root: StateRoot,
    /// What a successor would continue from.
    pub last_checkpoint: Option<CheckpointInfo>,
    /// What is set aside for it.
    pub resources: Resources,
    /// Fuel used in its life.
    pub fuel: u64,
    /// What it costs and has cost.
    pub spend: Spend,
    /// Times its cell was started anew in this lease.
    pub restarts: u32,
}

/// A checkpoint, as far as its owner cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointInfo {
    /// Its number in the lease.
    pub seq: u64,
    /// When it was taken, in milliseconds since the Unix epoch.
    pub time: Timestamp,
    /// The state it holds.
    pub state_root: StateRoot,
    /// Whether its leaf is open on chain, so that another node would continue from it.
    pub opened: bool,
}

/// An escrow, in wei.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spend {
    /// Paid to nodes so far.
    pub paid: TokenAmount,
    /// What is left.
    pub balance: TokenAmount,
    /// The lease's price in wei per second.
    pub rate: Rate,
}

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For whoever writes the agent.
    Debug,
    /// What happened.
    Info,
    /// What may need a look.
    Warn,
    /// What failed.
    Error,
}

/// One line of an agent's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Its place, counted from 0 over the agent's life.
    pub seq: u64,
    /// When, in milliseconds since the Unix epoch, by the agent's clock.
    pub ms: Timestamp,
    /// The turn that wrote it.
    pub turn: u64,
    /// How much it matters.
    pub level: Level,
    /// What it says.
    pub text: String,
    /// Its leaf under the log root.
    #[serde(with = "word")]
    pub hash: Word,
}

/// Which lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogQuery {
    /// Lines with a higher `seq` than this; from the first where absent.
    #[serde(default)]
    pub after: Option<u64>,
    /// At most so many, up to [`LOG_LINES_MAX`].
    #[serde(default = "limit_default")]
    pub limit: u32,
    /// Whether to wait for lines that do not exist yet.
    #[serde(default)]
    pub follow: bool,
}

impl Default for LogQuery {
    fn default() -> Self {
        Self { after: None, limit: limit_default(), follow: false }
    }
}

impl LogQuery {
    /// The limit as it is applied: at least 1, at most [`LOG_LINES_MAX`].
    pub fn lines_max(&self) -> u32 {
        self.limit.clamp(1, LOG_LINES_MAX)
    }
}

/// What a stop led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopAnswer {
    /// Where it is now: stopping, or stopped.
    pub phase: Phase,
    /// The final checkpoint, once it is taken.
    pub checkpoint: Option<CheckpointInfo>,
}

/// What an update led to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateAnswer {
    /// Whether the new version runs.
    pub switched: bool,
    /// The version that runs now.
    pub version: u32,
    /// Why it was left as it was.
    pub reason: Option<String>,
}

/// A node, as it presents itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Its operator account; sessions are signed for it.
    pub account: Address,
    /// The market it works on; what is signed is signed for this.
    pub domain: Domain,
    /// Version of the software.
    pub software: String,
    /// Version of the runtime that checkpoints name.
    pub runtime_version: u32,
    /// The zone of its endpoints.
    pub zone: String,
    /// What it offers.
    pub capacity: Resources,
    /// What of it is free.
    pub free: Resources,
    /// Leases it holds.
    pub leases: u32,
    /// What stands between agents and its machine.
    pub sandbox: Sandbox,
}

/// What stands between agents and a node's machine. It is the node's own word: nobody can look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// 0 to 3, as `docs/security.md` has them.
    pub level: u8,
    /// Below this level it runs no agents, and bids for none.
    pub level_min: u8,
    /// Names of the walls that its kernel does not give.
    pub missing: Vec<String>,
    /// How many system calls a cell may make while its guest runs.
    pub system_calls: u32,
}

/// What became of a package that was handed to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentAnswer {
    /// CIDs of the parts: artifact, body, yaml.
    pub roots: Vec<String>,
    /// Blocks that are kept now.
    pub blocks: u32,
}

/// Which turns of an agent's past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordingQuery {
    /// So that this turn is among them, as far as it is kept; from the first that is kept of the version that runs
    /// at the end where absent.
    #[serde(default)]
    pub from: Option<u64>,
    /// So that this turn is among them; up to now where absent.
    #[serde(default)]
    pub to: Option<u64>,
}

/// A recording that a node has put together: turns of one agent with all that a replay needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingInfo {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The lease.
    pub epoch: EpochId,
    /// The version that ran, counted by the contract from 1.
    pub version: u32,
    /// Its artifact.
    pub artifact_hash: ArtifactHash,
    /// What its package is known by.
    pub manifest_hash: ManifestHash,
    /// The runtime that replays it.
    pub runtime_version: u32,
    /// The first turn in it.
    pub from: u64,
    /// The last turn in it.
    pub to: u64,
    /// The state that it is said to lead to.
    pub state_root: StateRoot,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its bytes, by which they are asked for.
    #[serde(with = "word")]
    pub sha256: Word,
}

/// Which part of a recording's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartQuery {
    /// Bytes before it.
    #[serde(default)]
    pub offset: u64,
}

fn limit_default() -> u32 {
    100
}

mod word {
    use daee_types::Word;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub fn serialize<S: Serializer>(word: &Word, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("0x{}", hex::encode(word)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Word, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        let mut word = [0; 32];
        hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(&text), &mut word)
            .map_err(D::Error::custom)?;
        Ok(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_is_one_line_of_json_and_reads_back() {
        let line = LogLine {
            seq: 3,
            ms: Timestamp(5),
            turn: 2,
            level: Level::Warn,
            text: "two\nlines".to_owned(),
            hash: [0xab; 32],
        };
        let json = serde_json::to_string(&line).unwrap();
        assert!(!json.contains('\n'), "{json}");
        assert_eq!(
            json,
            format!(
                r#"{{"seq":3,"ms":5,"turn":2,"level":"warn","text":"two\nlines","hash":"0x{}"}}"#,
                "ab".repeat(32)
            )
        );
        assert_eq!(serde_json::from_str::<LogLine>(&json).unwrap(), line);
    }

    #[test]
    fn a_query_asks_for_what_it_leaves_out_and_never_for_more_than_the_bound() {
        let query: LogQuery = serde_json::from_str("{}").unwrap();
        assert_eq!(query, LogQuery::default());
        assert_eq!(LogQuery { limit: u32::MAX, ..query }.lines_max(), LOG_LINES_MAX);
        assert_eq!(LogQuery { limit: 0, ..query }.lines_max(), 1);
        assert!(serde_json::from_str::<LogQuery>(r#"{"folow":true}"#).is_err());
    }

    #[test]
    fn amounts_travel_as_text_for_numbers_would_lose_wei() {
        let spend = Spend { paid: TokenAmount(u128::MAX), ..Spend::default() };
        let json = serde_json::to_string(&spend).unwrap();
        assert!(json.contains(r#""paid":"340282366920938463463374607431768211455""#), "{json}");
        assert_eq!(serde_json::from_str::<Spend>(&json).unwrap(), spend);
    }
}
