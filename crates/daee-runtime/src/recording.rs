use std::collections::HashSet;

use daee_transcript::{Bodies, Bounds};
use daee_types::{
    DeploymentId, EpochId, LogRoot, StateRoot, TranscriptRoot, Word, sha256,
    wire::{Reader, WireError, Writer},
};

use crate::{Agent, Commit, Marks, RUNTIME_VERSION};

/// Some turns of one agent, for anyone who has the package to run again: where it stood, what came in, and what it is
/// said to have come to. Nothing in it is to be trusted.
///
/// `docs/spec/run.md` has its format; files of it end in `.run`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Which agent.
    pub deployment: DeploymentId,
    /// Which lease of it.
    pub epoch: EpochId,
    /// The manifest hash of its package; zeros if its launcher named none.
    pub manifest: Word,
    /// The runtime that it ran on.
    pub runtime_version: u32,
    /// What it was held to at the start; each birth says it again.
    pub limits: Bounds,
    /// An encoded [`Snapshot`](crate::Snapshot): where it stood.
    pub snapshot: Vec<u8>,
    /// Transcript entries of whole turns, each behind its length.
    pub transcript: Vec<u8>,
    /// What the entries hold by hash only.
    pub bodies: Bodies,
    /// Where it is said to have stood behind them.
    pub claim: Marks,
}

const MAGIC: &[u8; 8] = b"daee.run";
const VERSION: u8 = 1;

impl Recording {
    /// Begins one where an agent stands, between two turns. A resident has to stand at a birth: just started, or
    /// its cell gone.
    pub fn begin(agent: &mut Agent, deployment: DeploymentId, epoch: EpochId) -> Self {
        Self {
            deployment,
            epoch,
            manifest: *agent.manifest(),
            runtime_version: RUNTIME_VERSION,
            limits: agent.bounds(),
            snapshot: agent.snapshot(),
            transcript: Vec::new(),
            bodies: Vec::new(),
            claim: agent.marks(),
        }
    }

    /// Adds what came of turns, in order, and where the agent stands behind them.
    pub fn extend<'a>(&mut self, commits: impl IntoIterator<Item = &'a Commit>, now: Marks) {
        let mut known: HashSet<Word> = self.bodies.iter().map(|(hash, _)| *hash).collect();
        for commit in commits {
            self.transcript.extend(&commit.transcript);
            let fresh = commit.bodies.iter().filter(|(hash, _)| known.insert(*hash));
            self.bodies.extend(fresh.cloned());
        }
        self.claim = now;
    }

    /// The bytes that [`Recording::decode`] reads.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.raw(MAGIC).byte(VERSION).u64(self.deployment.0).word(self.epoch.as_bytes());
        out.word(&self.manifest).u32(self.runtime_version);
        self.limits.write(&mut out);
        let claim = &self.claim;
        out.u64(claim.turn).word(claim.state_root.as_bytes()).word(claim.log_root.as_bytes());
        out.word(claim.transcript_root.as_bytes()).u64(claim.fuel);
        for long in [&self.snapshot, &self.transcript] {
            out.u64(long.len() as u64).raw(long);
        }
        out.u32(self.bodies.len() as u32);
        for (_, body) in &self.bodies {
            out.bytes(body);
        }
        let mut bytes = out.finish();
        let sum = sha256(&bytes);
        bytes.extend(sum);
        bytes
    }

    /// Reads what [`Recording::encode`] wrote. Bytes of a stranger are safe to give it: they cost no more than their
    /// own size again. What they claim is for [`replay`](crate::replay()) to find out.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let whole = Reader::new(bytes);
        let Some((rest, sum)) = bytes.split_last_chunk::<32>() else {
            return Err(whole.wrong("the bytes end too early"));
        };
        let mut from = Reader::new(rest);
        if from.raw(MAGIC.len())? != MAGIC || from.byte()? != VERSION {
            return Err(from.wrong("no recording, or an unknown version of one"));
        }
        // A disk that forgot a bit is no node that lied.
        if sha256(rest) != *sum {
            return Err(from.wrong("the checksum does not fit: the recording is damaged"));
        }
        let deployment = DeploymentId(from.u64()?);
        let epoch = EpochId::new(from.word()?);
        let (manifest, runtime_version) = (from.word()?, from.u32()?);
        let limits = Bounds::read(&mut from)?;
        let claim = Marks {
            turn: from.u64()?,
            state_root: StateRoot::new(from.word()?),
            log_root: LogRoot::new(from.word()?),
            transcript_root: TranscriptRoot::new(from.word()?),
            fuel: from.u64()?,
        };
        let mut long = || {
            let len = usize::try_from(from.u64()?).unwrap_or(usize::MAX);
            Ok(from.raw(len)?.to_vec())
        };
        let (snapshot, transcript) = (long()?, long()?);
        let mut bodies = Bodies::new();
        for _ in 0..from.count(4)? {
            let body = from.bytes()?.to_vec();
            bodies.push((sha256(&body), body));
        }
        from.finish()?;
        Ok(Self {
            deployment,
            epoch,
            manifest,
            runtime_version,
            limits,
            snapshot,
            transcript,
            bodies,
            claim,
        })
    }
}
