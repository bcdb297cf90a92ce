use std::collections::BTreeSet;

use daee_types::{Address, Coded, Domain, Fault, Rotation, Sign, SignError, Signature};
use serde::{Deserialize, Serialize};

use super::file::text;
use crate::recover;

/// Most signers that one [`Trust`] may name.
pub const TRUSTED_MAX: usize = 32;

/// Whose signatures count, and how many of them it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    signers: Vec<Address>,
    threshold: u32,
    rotations: Vec<SignedRotation>,
}

impl Trust {
    /// Takes `threshold` of `signers`, after the rotations that are known besides those of a signature
    /// file. Rotations may be of many agents: each is judged with the packages of its own.
    pub fn new(
        signers: Vec<Address>,
        threshold: u32,
        rotations: Vec<SignedRotation>,
    ) -> Result<Self, TrustError> {
        let mut seen = BTreeSet::new();
        if let Some(twice) = signers.iter().find(|signer| !seen.insert(**signer)) {
            return Err(TrustError::Twice(*twice));
        }
        if signers.len() > TRUSTED_MAX {
            return Err(TrustError::TooMany(signers.len()));
        }
        if threshold == 0 || threshold as usize > signers.len() {
            return Err(TrustError::Threshold { threshold, signers: signers.len() });
        }
        Ok(Self { signers, threshold, rotations })
    }

    /// Who is trusted before any rotation.
    pub fn signers(&self) -> &[Address] {
        &self.signers
    }

    /// How many of them have to sign.
    pub fn threshold(&self) -> u32 {
        self.threshold
    }

    /// The rotations that are known without a file.
    pub fn rotations(&self) -> &[SignedRotation] {
        &self.rotations
    }
}

/// Why there is no such [`Trust`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// One signer listed twice would count twice in the reader's eyes.
    #[error("{0} is listed twice: list each signer once")]
    Twice(Address),
    /// More than a person has looked at.
    #[error("{0} signers are listed: list {TRUSTED_MAX} at most")]
    TooMany(usize),
    /// Nobody has to sign, or more have to than there are.
    #[error(
        "the threshold is {threshold}, with {signers} trusted: choose one from 1 to the number of signers"
    )]
    Threshold {
        /// What is asked for.
        threshold: u32,
        /// How many there are.
        signers: usize,
    },
}

impl Coded for TrustError {
    fn code(&self) -> &'static str {
        match self {
            TrustError::Twice(_) => "DAEE-S024",
            TrustError::TooMany(_) => "DAEE-S025",
            TrustError::Threshold { .. } => "DAEE-S026",
        }
    }
    fn fault(&self) -> Fault {
        Fault::Developer
    }
}

/// A [`Rotation`] with the signatures of both its keys, as signature files and policies hold it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedRotation {
    /// The agent's name, without a version.
    #[serde(deserialize_with = "text::agent")]
    pub agent: String,
    /// Whose place it was.
    #[serde(deserialize_with = "text::address")]
    pub from: Address,
    /// Whose place it is.
    #[serde(deserialize_with = "text::address")]
    pub to: Address,
    /// Counts the rotations of the agent from 1.
    pub sequence: u64,
    /// By the key that goes.
    #[serde(deserialize_with = "text::signature")]
    pub from_signature: Signature,
    /// By the key that comes.
    #[serde(deserialize_with = "text::signature")]
    pub to_signature: Signature,
}

impl SignedRotation {
    /// Signs that `to` takes the place of `from`.
    pub fn sign(
        agent: &str,
        sequence: u64,
        domain: &Domain,
        from: &dyn Sign,
        to: &dyn Sign,
    ) -> Result<Self, SignError> {
        let agent = agent.to_owned();
        let rotation = Rotation { agent, from: from.address(), to: to.address(), sequence };
        let digest = rotation.digest(domain);
        let (from_signature, to_signature) = (from.sign(&digest)?, to.sign(&digest)?);
        let Rotation { agent, from, to, sequence } = rotation;
        Ok(Self { agent, from, to, sequence, from_signature, to_signature })
    }

    /// What was signed.
    pub fn rotation(&self) -> Rotation {
        let Self { agent, from, to, sequence, .. } = self;
        Rotation { agent: agent.clone(), from: *from, to: *to, sequence: *sequence }
    }

    /// Whose signature is not there or not right for this market.
    pub(super) fn unsigned(&self, domain: &Domain) -> Vec<Address> {
        let digest = self.rotation().digest(domain);
        let both = [(self.from, &self.from_signature), (self.to, &self.to_signature)];
        let wrong = both.iter().filter(|(by, of)| recover(&digest, of) != Some(*by));
        wrong.map(|(by, _)| *by).collect()
    }
}
