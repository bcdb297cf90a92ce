use std::path::{Path, PathBuf};

use daee_types::{
    Address, Coded, Domain, Fault, ManifestHash, PackageStatement, Sign, SignError, Signature,
};
use serde::{Deserialize, Serialize};

use super::trust::SignedRotation;
use crate::recover;

/// What a signature file calls itself.
pub const FORMAT: &str = "daee-signatures/1";
/// Largest signature file in bytes: 64 KiB.
pub const SIGNATURE_FILE_BYTES_MAX: usize = 64 << 10;
/// Most signatures in one file.
pub const SIGNATURES_MAX: usize = 32;
/// Most rotations in one file.
pub const ROTATIONS_MAX: usize = 32;

/// Longest agent id or name in bytes; what a manifest may say is shorter.
const AGENT_BYTES_MAX: usize = 256;
/// Longest binary CID in bytes; those of packages have 36.
const CID_BYTES_MAX: usize = 64;

/// Who signed one package on one market, and which keys took the place of others before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureFile {
    domain: Domain,
    statement: PackageStatement,
    signatures: Vec<(Address, Signature)>,
    rotations: Vec<SignedRotation>,
}

impl SignatureFile {
    /// One that nobody has signed yet.
    pub fn new(statement: PackageStatement, domain: Domain) -> Self {
        Self { domain, statement, signatures: Vec::new(), rotations: Vec::new() }
    }

    /// Reads a file. A key that is unknown or there twice, an address that is neither checksummed nor in
    /// lower case, a signature that the EVM would not read: each is refused. Says nothing about who signed.
    pub fn read(bytes: &[u8]) -> Result<Self, SignatureFileError> {
        if bytes.len() > SIGNATURE_FILE_BYTES_MAX {
            return Err(SignatureFileError::TooLarge);
        }
        let Json { format, chain_id, contract, package, signatures, rotations } =
            serde_json::from_slice(bytes).map_err(|error| SignatureFileError::Malformed {
                line: error.line(),
                column: error.column(),
                why: bare(&error),
            })?;
        if format != FORMAT {
            return Err(SignatureFileError::Format(format.chars().take(80).collect()));
        }
        for (what, count, max) in [
            ("signatures", signatures.len(), SIGNATURES_MAX),
            ("rotations", rotations.len(), ROTATIONS_MAX),
        ] {
            if count > max {
                return Err(SignatureFileError::TooMany { what, count, max });
            }
        }
        let StatementJson { agent_id, manifest_hash, cid } = package;
        Ok(Self {
            domain: Domain { chain_id, manager: contract },
            statement: PackageStatement { agent_id, manifest_hash, cid },
            signatures: signatures.into_iter().map(|one| (one.signer, one.signature)).collect(),
            rotations,
        })
    }

    /// The file as it is written: JSON with a line end, in one order.
    pub fn to_json(&self) -> String {
        let PackageStatement { agent_id, manifest_hash, cid } = self.statement.clone();
        let signed = |(signer, signature): &(Address, Signature)| SignatureJson {
            signer: *signer,
            signature: *signature,
        };
        let json = Json {
            format: FORMAT.to_owned(),
            chain_id: self.domain.chain_id,
            contract: self.domain.manager,
            package: StatementJson { agent_id, manifest_hash, cid },
            signatures: self.signatures.iter().map(signed).collect(),
            rotations: self.rotations.clone(),
        };
        let mut text = serde_json::to_string_pretty(&json).expect("plain values have a JSON form");
        text.push('\n');
        text
    }

    /// The market that the signatures are for.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// What was signed.
    pub fn statement(&self) -> &PackageStatement {
        &self.statement
    }

    /// Who is said to have signed, and the signatures, in the order of the file.
    pub fn signatures(&self) -> &[(Address, Signature)] {
        &self.signatures
    }

    /// The rotations that travel with it.
    pub fn rotations(&self) -> &[SignedRotation] {
        &self.rotations
    }

    /// Those whose signature is right, each once, whether anybody trusts them or not.
    pub fn signers(&self) -> Vec<Address> {
        let digest = self.statement.digest(&self.domain);
        let mut signers = Vec::new();
        for (by, of) in &self.signatures {
            if !signers.contains(by) && recover(&digest, of) == Some(*by) {
                signers.push(*by);
            }
        }
        signers
    }

    /// Adds the signature of one more key. True where it was not there before; a wrong one under the same
    /// name gives way.
    pub fn sign(&mut self, key: &dyn Sign) -> Result<bool, SignFileError> {
        let signer = key.address();
        if let Some(gone) = self.rotations.iter().find(|rotation| rotation.from == signer) {
            return Err(SignFileError::Retired {
                key: signer,
                to: gone.to,
                sequence: gone.sequence,
            });
        }
        if self.signers().contains(&signer) {
            return Ok(false);
        }
        let signature = key.sign(&self.statement.digest(&self.domain))?;
        self.signatures.retain(|(by, _)| *by != signer);
        if self.signatures.len() == SIGNATURES_MAX {
            return Err(SignFileError::Full { what: "signatures", max: SIGNATURES_MAX });
        }
        self.signatures.push((signer, signature));
        Ok(true)
    }

    /// Puts `to` in the place of `from` for all versions of this agent, and takes out the signature of
    /// `from`, which counts no more.
    pub fn rotate(&mut self, from: &dyn Sign, to: &dyn Sign) -> Result<(), SignFileError> {
        let (old, new) = (from.address(), to.address());
        let gone = |key| self.rotations.iter().any(|rotation| rotation.from == key);
        let came = |key| self.rotations.iter().any(|rotation| rotation.to == key);
        if old == new || gone(old) || gone(new) || came(new) {
            return Err(SignFileError::Rotated { from: old, to: new });
        }
        if self.rotations.len() == ROTATIONS_MAX {
            return Err(SignFileError::Full { what: "rotations", max: ROTATIONS_MAX });
        }
        let sequence = self.rotations.iter().map(|rotation| rotation.sequence).max();
        let sequence = sequence.unwrap_or(0).saturating_add(1);
        let agent = self.statement.agent();
        let rotation = SignedRotation::sign(agent, sequence, &self.domain, from, to)?;
        self.rotations.push(rotation);
        self.signatures.retain(|(by, _)| *by != old);
        Ok(())
    }

    /// A file for another version of the same agent: the rotations stay, the signatures cannot.
    pub fn renewed(&self, statement: PackageStatement) -> Option<Self> {
        let rotations = self.rotations.clone();
        (statement.agent() == self.statement.agent()).then_some(Self {
            domain: self.domain,
            statement,
            signatures: Vec::new(),
            rotations,
        })
    }
}

/// Where the signatures of a package stand: `agent.sig.json` in its folder, `NAME.sig.json` beside
/// `NAME.car` or `NAME.yaml`. `folder` says that `package` is one.
pub fn signature_path(package: &Path, folder: bool) -> PathBuf {
    if folder { package.join("agent.sig.json") } else { package.with_extension("sig.json") }
}

/// Why there is no signature file to judge.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFileError {
    /// More than [`SIGNATURE_FILE_BYTES_MAX`].
    #[error("the signature file is larger than 64 KiB: give the .sig.json file of the package")]
    TooLarge,
    /// Not JSON, or not of the shape that the format has.
    #[error(
        "the signature file cannot be read at line {line}, column {column}: {why}; sign the package again \
         into a new file"
    )]
    Malformed {
        /// Line from 1.
        line: usize,
        /// Column in bytes from 1.
        column: usize,
        /// What stands there.
        why: String,
    },
    /// Another format, or a later version of it.
    #[error(
        "the format of the signature file is {0:?}, which this version does not read: it reads {FORMAT:?}"
    )]
    Format(String),
    /// More than anybody looks at.
    #[error(
        "the signature file has {count} {what}: {max} are the most; keep those that are needed"
    )]
    TooMany {
        /// signatures or rotations.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many there may be.
        max: usize,
    },
}

impl Coded for SignatureFileError {
    fn code(&self) -> &'static str {
        match self {
            SignatureFileError::TooLarge => "DAEE-S020",
            SignatureFileError::Malformed { .. } => "DAEE-S021",
            SignatureFileError::Format(_) => "DAEE-S022",
            SignatureFileError::TooMany { .. } => "DAEE-S023",
        }
    }
    fn fault(&self) -> Fault {
        Fault::Developer
    }
}

/// Why nothing was added to a signature file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignFileError {
    /// The key gave no signature.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// No more of them fit.
    #[error("the signature file has {max} {what} already: keep those that are needed")]
    Full {
        /// signatures or rotations.
        what: &'static str,
        /// How many there may be.
        max: usize,
    },
    /// A signature by this key would have the whole file refused.
    #[error("{key} was given up by rotation {sequence} of this file: sign with the key of {to}")]
    Retired {
        /// The key.
        key: Address,
        /// Who has its place.
        to: Address,
        /// By which rotation.
        sequence: u64,
    },
    /// One of the keys was rotated before, or both are one.
    #[error(
        "{to} cannot take the place of {from}: a key is given up once and comes in once; make a new one \
         with `daee-deploy key new`"
    )]
    Rotated {
        /// The key that is to go.
        from: Address,
        /// The key that is to come.
        to: Address,
    },
}

impl Coded for SignFileError {
    fn code(&self) -> &'static str {
        match self {
            SignFileError::Sign(error) => error.code(),
            SignFileError::Full { .. } => "DAEE-S027",
            SignFileError::Rotated { .. } => "DAEE-S028",
            SignFileError::Retired { .. } => "DAEE-S029",
        }
    }
    fn fault(&self) -> Fault {
        match self {
            SignFileError::Sign(error) => error.fault(),
            _ => Fault::Developer,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Json {
    format: String,
    chain_id: u64,
    #[serde(deserialize_with = "text::address")]
    contract: Address,
    package: StatementJson,
    signatures: Vec<SignatureJson>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rotations: Vec<SignedRotation>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StatementJson {
    #[serde(deserialize_with = "text::agent")]
    agent_id: String,
    manifest_hash: ManifestHash,
    #[serde(with = "text::cid")]
    cid: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignatureJson {
    #[serde(deserialize_with = "text::address")]
    signer: Address,
    #[serde(deserialize_with = "text::signature")]
    signature: Signature,
}

/// What serde_json says, without the place that it adds: that is told apart.
fn bare(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}

/// One text for each value, so that two readers cannot read two things.
pub(super) mod text {
    use super::*;
    use serde::{Deserializer, de::Error as _};

    type Text<'de> = std::borrow::Cow<'de, str>;

    /// Checksummed or in lower case.
    pub fn address<'de, D: Deserializer<'de>>(from: D) -> Result<Address, D::Error> {
        let text = Text::deserialize(from)?;
        let address: Address = text.parse().map_err(D::Error::custom)?;
        if *text != address.to_string() && text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(D::Error::custom(format!("write {text} in lower case or as {address}")));
        }
        Ok(address)
    }

    /// `0x` and 130 lower-case digits; low s, and a v of 27 or 28.
    pub fn signature<'de, D: Deserializer<'de>>(from: D) -> Result<Signature, D::Error> {
        let text = Text::deserialize(from)?;
        let mut bytes = [0; 65];
        let digits = text.strip_prefix("0x").filter(|digits| {
            hex::decode_to_slice(digits, &mut bytes).is_ok()
                && !digits.bytes().any(|b| b.is_ascii_uppercase())
        });
        if digits.is_none() {
            return Err(D::Error::custom("a signature is 0x and 130 lower-case hex digits"));
        }
        let signature = Signature(bytes);
        if !crate::key::is_canonical(&signature) {
            return Err(D::Error::custom(
                "the signature is not one that the EVM takes (it has a high s, or a v other than 27 and 28)",
            ));
        }
        Ok(signature)
    }

    /// An agent's id or name, whose grammar is the manifest's. Here: nothing that hides in a terminal.
    pub fn agent<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
        let text = Text::deserialize(from)?;
        let long = text.is_empty() || text.len() > AGENT_BYTES_MAX;
        if long || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(D::Error::custom(
                "an agent's id or name is 1 to 256 visible ASCII characters",
            ));
        }
        Ok(text.into_owned())
    }

    /// A CID as everybody shows it: multibase `b`, base32 in lower case without padding.
    pub mod cid {
        use super::*;
        use data_encoding::BASE32_NOPAD as BASE32;

        pub fn serialize<S: serde::Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
            to.serialize_str(&shown(bytes))
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
            let text = Text::deserialize(from)?;
            let digits = text.strip_prefix('b').unwrap_or_default().to_ascii_uppercase();
            let bytes = BASE32.decode(digits.as_bytes()).unwrap_or_default();
            // Written again: upper and lower case are the same bytes.
            if bytes.is_empty() || bytes.len() > CID_BYTES_MAX || shown(&bytes) != *text {
                return Err(D::Error::custom(
                    "a CID is written in lower-case base32, as in bafkrei...",
                ));
            }
            Ok(bytes)
        }

        pub fn shown(bytes: &[u8]) -> String {
            format!("b{}", BASE32.encode(bytes).to_ascii_lowercase())
        }
    }
}
