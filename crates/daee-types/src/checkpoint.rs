use crate::{
    Address, ArtifactHash, DeploymentId, EpochId, LeafHash, LogRoot, StateRoot, TranscriptRoot,
    Word, keccak256,
};

/// The EIP-712 domain that ties signatures to one chain and one manager contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Domain {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The manager contract.
    pub manager: Address,
}

impl Domain {
    /// The domain separator: name `DAEE`, version `1`.
    pub fn separator(&self) -> Word {
        let mut input = Vec::with_capacity(160);
        input.extend(keccak256(
            "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)",
        ));
        input.extend(keccak256("DAEE"));
        input.extend(keccak256("1"));
        input.extend(word_of(self.chain_id));
        input.extend(self.manager.to_word());
        keccak256(input)
    }

    /// What is signed for a struct hash: `keccak256(0x1901, separator, hash)`.
    pub fn digest(&self, struct_hash: &Word) -> Word {
        let mut input = [0; 66];
        input[..2].copy_from_slice(&[0x19, 0x01]);
        input[2..34].copy_from_slice(&self.separator());
        input[34..].copy_from_slice(struct_hash);
        keccak256(input)
    }
}

/// One checkpoint of one lease: the leaf that a node anchors and opens (MARKET rule 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Checkpoint {
    /// The deployment.
    pub deployment: DeploymentId,
    /// Its lease.
    pub epoch: EpochId,
    /// Counts the checkpoints of a lease from 1; a signer signs each number once.
    pub seq: u64,
    /// The leaf before this one in the same lease, or zero for the first.
    pub prev_leaf_hash: LeafHash,
    /// Turns handled in the deployment's life, rolled-back ones included.
    pub turn: u64,
    /// The last state root opened on chain, zero before the first.
    pub pre_root: StateRoot,
    /// The state now.
    pub state_root: StateRoot,
    /// The log now.
    pub log_root: LogRoot,
    /// The transcript now.
    pub transcript_root: TranscriptRoot,
    /// The artifact that ran.
    pub artifact_hash: ArtifactHash,
    /// The runtime that ran it, so that a replay uses the same.
    pub runtime_version: u32,
    /// Fuel used in the deployment's life so far.
    pub fuel: u64,
    /// Seconds of this lease that anchors have credited so far.
    pub covered_seconds: u64,
}

impl Checkpoint {
    /// The EIP-712 type, as contracts hash it.
    pub const TYPE: &'static str = "Checkpoint(uint256 deployment,bytes32 epoch,uint64 seq,\
        bytes32 prevLeafHash,uint64 turn,bytes32 preRoot,bytes32 stateRoot,bytes32 logRoot,\
        bytes32 transcriptRoot,bytes32 artifactHash,uint32 runtimeVersion,uint64 fuel,\
        uint64 coveredSeconds)";

    /// The EIP-712 struct hash.
    pub fn leaf_hash(&self) -> LeafHash {
        let mut input = Vec::with_capacity(14 * 32);
        input.extend(keccak256(Self::TYPE));
        input.extend(word_of(self.deployment.0));
        input.extend(self.epoch.as_bytes());
        input.extend(word_of(self.seq));
        input.extend(self.prev_leaf_hash.as_bytes());
        input.extend(word_of(self.turn));
        input.extend(self.pre_root.as_bytes());
        input.extend(self.state_root.as_bytes());
        input.extend(self.log_root.as_bytes());
        input.extend(self.transcript_root.as_bytes());
        input.extend(self.artifact_hash.as_bytes());
        input.extend(word_of(self.runtime_version.into()));
        input.extend(word_of(self.fuel));
        input.extend(word_of(self.covered_seconds));
        LeafHash::new(keccak256(input))
    }
}

/// A number as a word of the ABI.
pub(crate) fn word_of(n: u64) -> Word {
    let mut word = [0; 32];
    word[24..].copy_from_slice(&n.to_be_bytes());
    word
}
