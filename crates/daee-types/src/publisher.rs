use crate::{Address, Domain, ManifestHash, Word, checkpoint::word_of, keccak256};

/// What a publisher signs for one package: the agent and version, the manifest with the artifact's hash
/// in it, and the content.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PackageStatement {
    /// Name and version, as the manifest has them: `talos.oracle.price-eth@v1.2.0`.
    pub agent_id: String,
    /// Binds the artifact's hash and the manifest's canonical body.
    pub manifest_hash: ManifestHash,
    /// The artifact's CID in its binary form.
    pub cid: Vec<u8>,
}

impl PackageStatement {
    /// The EIP-712 type.
    pub const TYPE: &'static str = "Package(string agentId,bytes32 manifestHash,bytes cid)";

    /// The agent's name: its id without the version.
    pub fn agent(&self) -> &str {
        self.agent_id.split_once('@').map_or(self.agent_id.as_str(), |(name, _)| name)
    }

    /// The EIP-712 struct hash.
    pub fn struct_hash(&self) -> Word {
        let mut input = Vec::with_capacity(4 * 32);
        input.extend(keccak256(Self::TYPE));
        input.extend(keccak256(&self.agent_id));
        input.extend(self.manifest_hash.as_bytes());
        input.extend(keccak256(&self.cid));
        keccak256(input)
    }

    /// What is signed on one market.
    pub fn digest(&self, domain: &Domain) -> Word {
        domain.digest(&self.struct_hash())
    }
}

/// One key in the place of another, for all versions of one agent. Both keys sign it: the old one gives
/// its place away, the new one shows that somebody holds it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rotation {
    /// The agent's name, without a version.
    pub agent: String,
    /// Whose place it was.
    pub from: Address,
    /// Whose place it is.
    pub to: Address,
    /// Counts the rotations of one agent from 1, whichever of its signers they are of.
    pub sequence: u64,
}

impl Rotation {
    /// The EIP-712 type.
    pub const TYPE: &'static str = "Rotation(string agent,address from,address to,uint64 sequence)";

    /// The EIP-712 struct hash.
    pub fn struct_hash(&self) -> Word {
        let mut input = Vec::with_capacity(5 * 32);
        input.extend(keccak256(Self::TYPE));
        input.extend(keccak256(&self.agent));
        input.extend(self.from.to_word());
        input.extend(self.to.to_word());
        input.extend(word_of(self.sequence));
        keccak256(input)
    }

    /// What is signed on one market.
    pub fn digest(&self, domain: &Domain) -> Word {
        domain.digest(&self.struct_hash())
    }
}
