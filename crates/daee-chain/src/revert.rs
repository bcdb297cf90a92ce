//! From the bytes of a revert to its name and a sentence with the way out, where there is one.

use std::{collections::HashMap, sync::LazyLock};

use alloy::{
    dyn_abi::{DynSolValue, ErrorExt as _},
    json_abi::{self, JsonAbi},
};
use daee_types::{Address, Rate, Timestamp, TokenAmount};

use crate::{ChainError, abi};

/// What a contract said when it refused. `message` is the endpoint's, for a revert without data.
pub(crate) fn explain(data: Option<&[u8]>, message: &str) -> ChainError {
    let plain =
        |name: &str, message: String| ChainError::Reverted { name: name.to_owned(), message };
    let Some(data) = data.filter(|data| data.len() >= 4) else {
        return plain("Unknown", format!("the contract refused and gave no reason: {message}"));
    };
    let Some(error) = ERRORS.get(&data[..4]) else {
        let unknown = "the contract refused with an error that this version does not know";
        return plain("Unknown", format!("{unknown}: 0x{}", alloy::hex::encode(data)));
    };
    match error.decode_error(data) {
        Ok(decoded) => {
            let named = error.inputs.iter().map(|input| input.name.as_str());
            let args = Args(named.zip(&decoded.body).collect());
            plain(&error.name, sentence(&error.name, &args))
        }
        Err(_) => plain(&error.name, format!("the contract refused with {}", error.name)),
    }
}

static ERRORS: LazyLock<HashMap<[u8; 4], json_abi::Error>> = LazyLock::new(|| {
    let artifacts = [
        abi::manager::ARTIFACT,
        abi::registry::ARTIFACT,
        abi::outbox::ARTIFACT,
        abi::token::ARTIFACT,
        abi::price_reader::ARTIFACT,
    ];
    let mut errors = HashMap::new();
    for artifact in artifacts {
        #[derive(serde::Deserialize)]
        struct Artifact {
            abi: JsonAbi,
        }
        let read: Artifact = serde_json::from_str(artifact).expect("the committed artifact is one");
        for error in read.abi.errors() {
            errors.insert(error.selector().0, error.clone());
        }
    }
    for builtin in ["error Error(string reason)", "error Panic(uint256 code)"] {
        let error = json_abi::Error::parse(builtin).expect("the language's own errors are read");
        errors.insert(error.selector().0, error);
    }
    errors
});

/// The whole table: what each error means to whoever made the call.
fn sentence(name: &str, a: &Args<'_>) -> String {
    match name {
        // Deploying.
        "UnknownDeployment" => format!("there is no deployment {}", a.number("id")),
        "WrongPhase" => {
            format!("the deployment is {}, and this is not possible then", a.phase("phase"))
        }
        "CidNotRawSha256" => "the content identifier is not that of one raw block hashed with \
            SHA-256: pack the artifact again, with at most 1 MiB"
            .into(),
        "CidIsNotTheHash" => format!(
            "the content identifier holds the hash {} and the manifest {}: pack the package again",
            a.hash("inCid"),
            a.hash("artifactHash")
        ),
        "ArtifactTooLarge" => format!(
            "an artifact of {} bytes is outside what is taken: 1 to {} bytes",
            a.number("size"),
            a.number("limit")
        ),
        "BadTerms" => {
            format!("the terms are outside what the network takes in {}", a.text("field"))
        }
        "PaymentBelowMinimum" => format!(
            "{} is not enough: {} is the least here",
            a.amount("payment"),
            a.amount("minimum")
        ),

        // Bidding.
        "BidsAreClosed" => format!("bids were taken until {}", a.time("closedAt")),
        "BidsAreOpen" => format!("bids are taken until {}: wait until then", a.time("closeAt")),
        "NotBetter" => format!(
            "the standing bid is better: bid at most {} (offered: {})",
            a.rate("mustBeAtMost"),
            a.rate("rate")
        ),
        "RateAboveMaximum" => format!(
            "a rate of {} is outside what the tenant pays: above zero and at most {}",
            a.rate("rate"),
            a.rate("maximum")
        ),
        "IntervalTooLong" => format!(
            "the node anchors every {} s, the tenant wants it every {} s: register with a shorter \
            anchor interval",
            a.number("nodeInterval"),
            a.number("maximum")
        ),
        "WrongManifest" => format!(
            "the bid is for manifest {}, and the deployment is at {} now: verify that one first",
            a.hash("given"),
            a.hash("offered")
        ),
        "NoCapacity" => format!(
            "the node has {} of {} free, not {}",
            a.number("free"),
            a.text("resource"),
            a.number("wanted")
        ),

        // Reading what agents publish.
        "NeverPublished" => "the agent has published nothing under this topic yet".into(),
        "TooOld" => format!(
            "the last value is {} s old, and the reader takes none older than {} s",
            a.number("age"),
            a.number("ageMax")
        ),
        "NotAWord" => format!(
            "the last value has {} bytes, and the reader reads words of 32",
            a.number("size")
        ),

        // Proof of time.
        "NotAnchored" => format!(
            "root {} was not anchored by the lessee within the lease: anchor it first",
            a.hash("root")
        ),
        "BadProof" => "the proof does not fit the tree it is for".into(),
        "StaleEpoch" => "the lease is over and another has begun: stop this agent".into(),
        "SeqNotHigher" => format!(
            "leaf {} is not newer than {}, which is open already",
            a.number("given"),
            a.number("last")
        ),
        "WrongPreRoot" => format!(
            "the leaf starts from state {}, and the last opened one is {}",
            a.hash("given"),
            a.hash("expected")
        ),
        "WrongArtifact" => format!(
            "the leaf is of artifact {}, and the deployment runs {}",
            a.hash("given"),
            a.hash("expected")
        ),
        "CoverageOverstated" => format!(
            "the leaf claims {} s, and anchors credited {} s",
            a.number("given"),
            a.number("credited")
        ),

        // Ends.
        "NotExpired" => format!("the lease does not expire before {}", a.time("expiresAt")),
        "TooEarly" => {
            format!("the final leaf may be opened until {}: wait until then", a.time("time"))
        }
        "TooLate" => format!("the window for the final leaf closed at {}", a.time("time")),
        "NothingToDo" => "there is nothing to do".into(),
        "NotEvidence" => format!("this proves nothing: {}", a.text("why")),

        // Who.
        "NotOwner" => format!("{} is not the owner: use the owner's key", a.account("caller")),
        "NotLessee" => format!("{} does not hold the lease", a.account("caller")),
        "NotManager" => format!("{} is not the manager contract", a.account("caller")),
        "StaleLease" => format!(
            "{} does not hold the current lease of deployment {}",
            a.account("caller"),
            a.number("id")
        ),

        // Staking.
        "NotRegistered" => format!(
            "{} is not registered as a node: stake with `daee-node stake` first",
            a.account("operator")
        ),
        "AlreadyRegistered" => format!("{} is registered already", a.account("operator")),
        "StakeBelowMinimum" => format!(
            "a stake of {} is below the minimum of {}: add to it with `daee-node stake`",
            a.amount("stake"),
            a.amount("minimum")
        ),
        "StakeLocked" => format!(
            "only {} of the stake is free, {} is needed: add to it, or wait until leases and their \
            tails are over",
            a.amount("free"),
            a.amount("wanted")
        ),
        "NotReady" => format!("nothing can be taken out before {}", a.time("readyAt")),
        "ManagerAlreadySet" => "the registry has its manager already".into(),
        "ConsentMissing" => format!(
            "the consent is not signed by the operator {}: sign it with the operator's key",
            a.account("operator")
        ),
        "BadInterval" => format!("an interval of {} s is not taken here", a.number("interval")),

        // Publishing.
        "TooLarge" => format!(
            "{} bytes are too many to publish: at most {}",
            a.number("size"),
            a.number("limit")
        ),
        "NotNewer" => format!(
            "turn {} is not later than {}, which published last",
            a.number("turn"),
            a.number("last")
        ),

        // OpenZeppelin's.
        "ERC20InsufficientBalance" => format!(
            "{} has {}, and {} is needed: send it TALOS first",
            a.account("sender"),
            a.amount("balance"),
            a.amount("needed")
        ),
        "ERC20InsufficientAllowance" => format!(
            "{} may take {}, and {} is needed: approve it first",
            a.account("spender"),
            a.amount("allowance"),
            a.amount("needed")
        ),
        "EnforcedPause" => "this is paused at the moment; every way out stays open".into(),
        "ERC2612ExpiredSignature" => "the permit's signature is past its deadline".into(),
        "ERC2612InvalidSigner" => "the permit is not signed by the owner".into(),
        name if name.starts_with("ECDSA") => "the signature is not a valid one".into(),

        // The language's.
        "Error" => a.text("reason"),
        "Panic" => format!(
            "the contract came upon what must never be (code {}): report it",
            a.number("code")
        ),
        _ => format!("the contract refused{}", a.all()),
    }
}

/// What an error carries, by name.
struct Args<'a>(HashMap<&'a str, &'a DynSolValue>);

impl Args<'_> {
    fn uint(&self, name: &str) -> Option<u128> {
        let (value, _) = self.0.get(name)?.as_uint()?;
        u128::try_from(value).ok()
    }
    fn amount(&self, name: &str) -> String {
        self.uint(name).map_or_else(|| "?".into(), |wei| TokenAmount(wei).to_string())
    }
    fn rate(&self, name: &str) -> String {
        self.uint(name).map_or_else(|| "?".into(), |wei| Rate(wei).to_string())
    }
    fn number(&self, name: &str) -> String {
        self.0.get(name).map_or_else(|| "?".into(), |value| plain(value))
    }
    fn text(&self, name: &str) -> String {
        self.number(name)
    }
    fn hash(&self, name: &str) -> String {
        self.number(name)
    }
    fn account(&self, name: &str) -> String {
        self.number(name)
    }
    /// A block's time, as seconds since the epoch: whoever shows it knows the zone.
    fn time(&self, name: &str) -> String {
        match self.uint(name).and_then(|seconds| u64::try_from(seconds).ok()) {
            Some(seconds) => format!("block time {}", Timestamp::from_seconds(seconds).seconds()),
            None => "?".into(),
        }
    }
    fn phase(&self, name: &str) -> &'static str {
        match self.uint(name) {
            Some(1) => "open for bids",
            Some(2) => "leased",
            Some(3) => "closing",
            Some(4) => "closed",
            _ => "unknown",
        }
    }
    fn all(&self) -> String {
        let mut all: Vec<_> =
            self.0.iter().map(|(name, value)| format!("{name} {}", plain(value))).collect();
        all.sort();
        if all.is_empty() { String::new() } else { format!(": {}", all.join(", ")) }
    }
}

fn plain(value: &DynSolValue) -> String {
    match value {
        DynSolValue::Uint(value, _) => value.to_string(),
        DynSolValue::String(text) => text.clone(),
        DynSolValue::Address(address) => Address(address.0.0).to_string(),
        DynSolValue::FixedBytes(word, size) => format!("0x{}", alloy::hex::encode(&word[..*size])),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use alloy::{
        primitives::U256,
        sol_types::{Revert, SolError},
    };

    use super::*;
    use crate::abi::{manager::DaeeManager, registry::NodeRegistry, token::TalosToken};

    #[test]
    fn a_revert_comes_back_as_its_name_and_a_sentence() {
        let wei = |talos: u64| U256::from(talos) * U256::from(10).pow(U256::from(18));
        check(
            DaeeManager::PaymentBelowMinimum { payment: wei(1), minimum: wei(5) },
            "1 TALOS is not enough: 5 TALOS is the least here (PaymentBelowMinimum)",
        );
        check(
            NodeRegistry::NoCapacity {
                resource: "cpu".into(),
                free: U256::ZERO,
                wanted: U256::from(250),
            },
            "the node has 0 of cpu free, not 250 (NoCapacity)",
        );
        check(
            TalosToken::ERC20InsufficientBalance {
                sender: [0x11; 20].into(),
                balance: wei(2),
                needed: wei(3),
            },
            "0x1111111111111111111111111111111111111111 has 2 TALOS, and 3 TALOS is needed: \
            send it TALOS first (ERC20InsufficientBalance)",
        );
        check(Revert { reason: "just so".into() }, "just so (Error)");
    }

    #[test]
    fn every_error_of_every_contract_has_its_own_sentence() {
        // OpenZeppelin's that no call of ours can meet.
        let unmet = [
            "ExpectedPause",
            "ERC20InvalidApprover",
            "ERC20InvalidReceiver",
            "ERC20InvalidSender",
            "ERC20InvalidSpender",
            "InvalidAccountNonce",
            "InvalidShortString",
            "SafeERC20FailedOperation",
            "StringTooLong",
        ];
        for error in ERRORS.values().filter(|error| !unmet.contains(&error.name.as_str())) {
            let values: Vec<DynSolValue> = error
                .inputs
                .iter()
                .map(|input| match input.ty.as_str() {
                    "string" => DynSolValue::String("words".into()),
                    "address" => DynSolValue::Address([7; 20].into()),
                    "bytes32" => DynSolValue::FixedBytes([7; 32].into(), 32),
                    _ => DynSolValue::Uint(U256::from(1), 256),
                })
                .collect();
            let named = error.inputs.iter().map(|input| input.name.as_str());
            let text = sentence(&error.name, &Args(named.zip(&values).collect()));
            assert!(!text.contains("the contract refused"), "{}: {text}", error.name);
            assert!(!text.contains('?'), "{}: {text}", error.name);
        }
    }

    #[test]
    fn what_is_no_revert_of_ours_is_never_named_as_one() {
        for data in [None, Some(&[][..]), Some(&[1, 2, 3][..]), Some(&[0xde, 0xad, 0xbe, 0xef][..])]
        {
            let error = explain(data, "execution reverted");
            assert_eq!(error.revert_name(), Some("Unknown"), "{error}");
        }
        // Cut in the middle of its arguments.
        let whole = DaeeManager::NotExpired { expiresAt: 1 }.abi_encode();
        let cut = explain(Some(&whole[..20]), "");
        assert_eq!(cut.revert_name(), Some("NotExpired"));
    }

    fn check(error: impl SolError, expected: &str) {
        assert_eq!(explain(Some(&error.abi_encode()), "").to_string(), expected);
    }
}
