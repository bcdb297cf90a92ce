use std::collections::{BTreeMap, BTreeSet};

use daee_types::{Address, Coded, Domain, Fault, PackageStatement, Rotation};

use super::{
    file::{SignatureFile, text},
    trust::{SignedRotation, Trust},
};
use crate::recover;

/// A package that enough of those who are trusted signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The market that they signed for.
    pub domain: Domain,
    /// Who signed and is trusted, in the order of the file.
    pub by: Vec<Address>,
    /// Who signed as well, and is not known.
    pub others: Vec<Address>,
    /// The last rotation that was taken into account; 0 for none.
    pub rotation: u64,
}

impl SignatureFile {
    /// Whether enough of those who are trusted signed this package, for this market where one is given.
    /// Every problem at once.
    pub fn judge(
        &self,
        expected: &PackageStatement,
        domain: Option<&Domain>,
        trust: &Trust,
    ) -> Result<Signed, Vec<SignatureProblem>> {
        let mut problems = self.elsewhere(expected, domain);
        let standing = self.standing(expected.agent(), trust, &mut problems);
        let (by, others) = self.who(&standing, &mut problems);
        let (found, threshold) = (by.len(), trust.threshold());
        if found < threshold as usize {
            // Only now: a stranger's signature takes nothing from those that count.
            problems.extend(others.iter().map(|signer| SignatureProblem::Stranger(*signer)));
            problems.push(SignatureProblem::BelowThreshold { found, threshold });
        }
        if problems.is_empty() {
            Ok(Signed { domain: *self.domain(), by, others, rotation: standing.last })
        } else {
            Err(problems)
        }
    }

    /// What is signed is not what is there.
    fn elsewhere(
        &self,
        expected: &PackageStatement,
        domain: Option<&Domain>,
    ) -> Vec<SignatureProblem> {
        let signed = self.statement();
        let differs = |field, signed: String, expected: String| {
            (signed != expected).then_some(SignatureProblem::OtherPackage {
                field,
                signed,
                expected,
            })
        };
        let hash = |statement: &PackageStatement| statement.manifest_hash.to_string();
        let cid = |statement: &PackageStatement| text::cid::shown(&statement.cid);
        let package = [
            differs("agent_id", signed.agent_id.clone(), expected.agent_id.clone()),
            differs("manifest_hash", hash(signed), hash(expected)),
            differs("cid", cid(signed), cid(expected)),
        ];
        let market = domain.filter(|wanted| *wanted != self.domain()).map(|wanted| {
            SignatureProblem::OtherMarket { signed: *self.domain(), expected: *wanted }
        });
        package.into_iter().flatten().chain(market).collect()
    }

    /// Who is trusted once the rotations are done.
    fn standing(
        &self,
        agent: &str,
        trust: &Trust,
        problems: &mut Vec<SignatureProblem>,
    ) -> Standing {
        let mut known: BTreeMap<u64, Vec<Rotation>> = BTreeMap::new();
        let mut learn = |signed: &SignedRotation| {
            let by = signed.unsigned(self.domain());
            let rotation = signed.rotation();
            if !by.is_empty() {
                let domain = *self.domain();
                problems.push(SignatureProblem::RotationUnsigned { rotation, by, domain });
                return;
            }
            let same = known.entry(rotation.sequence).or_default();
            if !same.contains(&rotation) {
                same.push(rotation);
            }
        };
        // A verifier's own list is of many agents; a file is of one.
        trust.rotations().iter().filter(|rotation| rotation.agent == agent).for_each(&mut learn);
        self.rotations().iter().filter(|rotation| rotation.agent == agent).for_each(&mut learn);
        for other in self.rotations().iter().filter(|rotation| rotation.agent != agent) {
            let (rotation, agent) = (other.rotation(), agent.to_owned());
            problems.push(SignatureProblem::RotationOfOther { rotation, agent });
        }
        let mut standing = Standing::of(trust);
        for (sequence, rotations) in known {
            if let Some(problem) = standing.step(sequence, &rotations) {
                problems.push(problem);
                // What comes after stands on what is not known.
                break;
            }
        }
        standing
    }

    /// Those who signed: the trusted, and the others.
    fn who(
        &self,
        standing: &Standing,
        problems: &mut Vec<SignatureProblem>,
    ) -> (Vec<Address>, Vec<Address>) {
        let digest = self.statement().digest(self.domain());
        let mut seen = BTreeSet::new();
        let (mut by, mut others) = (Vec::new(), Vec::new());
        for (signer, signature) in self.signatures() {
            let signer = *signer;
            if !seen.insert(signer) {
                problems.push(SignatureProblem::Twice(signer));
            } else if recover(&digest, signature) != Some(signer) {
                problems.push(SignatureProblem::Bad(signer));
            } else if let Some(rotation) = standing.retired.get(&signer) {
                problems.push(SignatureProblem::Retired { rotation: rotation.clone() });
            } else if standing.trusted.contains(&signer) {
                by.push(signer);
            } else {
                others.push(signer);
            }
        }
        (by, others)
    }
}

/// Who is trusted after some rotations.
struct Standing {
    trusted: BTreeSet<Address>,
    /// Who gave a place away, and by which rotation.
    retired: BTreeMap<Address, Rotation>,
    last: u64,
}

impl Standing {
    fn of(trust: &Trust) -> Self {
        let trusted = trust.signers().iter().copied().collect();
        Self { trusted, retired: BTreeMap::new(), last: 0 }
    }

    /// Takes the next rotation, or says why it is not the next or not the only one.
    fn step(&mut self, sequence: u64, rotations: &[Rotation]) -> Option<SignatureProblem> {
        let fork = |first: &Rotation, second: &Rotation| {
            Some(SignatureProblem::Fork { first: first.clone(), second: second.clone() })
        };
        let rotation = match rotations {
            [] => return None,
            [one] => one,
            [first, second, ..] => return fork(first, second),
        };
        if sequence != self.last + 1 {
            let found = rotation.clone();
            return Some(SignatureProblem::Gap { missing: self.last + 1, found });
        }
        // Also two of one key in a row: a thief who counts on does not escape notice.
        if let Some(first) = self.retired.get(&rotation.from) {
            return fork(first, rotation);
        }
        if rotation.from == rotation.to || self.retired.contains_key(&rotation.to) {
            return Some(SignatureProblem::Back(rotation.clone()));
        }
        // Who was never trusted gives nothing away.
        if self.trusted.remove(&rotation.from) {
            self.trusted.insert(rotation.to);
        }
        self.retired.insert(rotation.from, rotation.clone());
        self.last = sequence;
        None
    }
}

/// One reason why a package does not count as signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureProblem {
    /// The signatures are for another package.
    #[error(
        "the signatures are for another package: {field} is {signed:?} in the signature file and \
         {expected:?} here; give the package's own signature file, or have this package signed"
    )]
    OtherPackage {
        /// agent_id, manifest_hash or cid.
        field: &'static str,
        /// What was signed.
        signed: String,
        /// What the package has.
        expected: String,
    },
    /// The signatures are for another chain or another contract.
    #[error(
        "the signatures are for chain {} and contract {}, not for chain {} and contract {}: have the \
         package signed for that market", .signed.chain_id, .signed.manager, .expected.chain_id,
        .expected.manager
    )]
    OtherMarket {
        /// What they are for.
        signed: Domain,
        /// What they should be for.
        expected: Domain,
    },
    /// Not this key's signature over this statement.
    #[error(
        "the signature under {0} is not its own over this statement: the file was changed, have {0} \
         sign again"
    )]
    Bad(Address),
    /// Right, but by nobody who is trusted; a problem only where too few others signed.
    #[error("{0} signed and is not trusted: add it to the signers of the policy if it should be")]
    Stranger(Address),
    /// Too few.
    #[error(
        "{found} of the trusted signers signed, and {threshold} have to: have more of them sign"
    )]
    BelowThreshold {
        /// How many did.
        found: usize,
        /// How many have to.
        threshold: u32,
    },
    /// One signer must not look like two.
    #[error("{0} stands in the signature file twice: take one of its signatures out")]
    Twice(Address),
    /// The key was given up.
    #[error(
        "{} signed, whose place {} took by rotation {}: have {} sign in its place, and ask who still \
         uses the old key", .rotation.from, .rotation.to, .rotation.sequence, .rotation.to
    )]
    Retired {
        /// By which it was.
        rotation: Rotation,
    },
    /// Two rotations of one sequence, or of one key: one of them may be a thief's.
    #[error(
        "rotations {} ({} to {}) and {} ({} to {}) of {} cannot both be: somebody signed two, and one \
         may be a thief; ask the publisher which is right, and trust that key by the policy alone",
        .first.sequence, .first.from, .first.to, .second.sequence, .second.from, .second.to, .first.agent
    )]
    Fork {
        /// One.
        first: Rotation,
        /// The other.
        second: Rotation,
    },
    /// Not signed by both keys, for this chain and contract.
    #[error(
        "rotation {} of {} ({} to {}) lacks the signature of {} for chain {} and contract {}: have both \
         keys sign it", .rotation.sequence, .rotation.agent, .rotation.from, .rotation.to,
        listed(.by), .domain.chain_id, .domain.manager
    )]
    RotationUnsigned {
        /// Which.
        rotation: Rotation,
        /// Whose signature is not there or not right.
        by: Vec<Address>,
        /// What it should be for.
        domain: Domain,
    },
    /// Rotations are missing in between, or the first.
    #[error(
        "rotation {missing} of {} is missing before {}: add it from an earlier signature file of the \
         agent", .found.agent, .found.sequence
    )]
    Gap {
        /// The first that is missing.
        missing: u64,
        /// The one that stands behind the gap.
        found: Rotation,
    },
    /// A rotation of another agent has no place here.
    #[error("rotation {} in the signature file is of {:?}, not of {agent:?}: take it out",
        .rotation.sequence, .rotation.agent)]
    RotationOfOther {
        /// Which.
        rotation: Rotation,
        /// Of whom it should be.
        agent: String,
    },
    /// To itself, or to a key that was given up.
    #[error(
        "rotation {} of {} leads to {}, which was given up: a key never comes back, rotate to a new \
         one", .0.sequence, .0.agent, .0.to
    )]
    Back(Rotation),
}

impl Coded for SignatureProblem {
    fn code(&self) -> &'static str {
        match self {
            SignatureProblem::OtherPackage { .. } => "DAEE-S030",
            SignatureProblem::OtherMarket { .. } => "DAEE-S031",
            SignatureProblem::Bad(_) => "DAEE-S032",
            SignatureProblem::Stranger(_) => "DAEE-S033",
            SignatureProblem::BelowThreshold { .. } => "DAEE-S034",
            SignatureProblem::Twice(_) => "DAEE-S035",
            SignatureProblem::Retired { .. } => "DAEE-S036",
            SignatureProblem::Fork { .. } => "DAEE-S037",
            SignatureProblem::RotationUnsigned { .. } => "DAEE-S038",
            SignatureProblem::Gap { .. } => "DAEE-S039",
            SignatureProblem::RotationOfOther { .. } => "DAEE-S040",
            SignatureProblem::Back(_) => "DAEE-S041",
        }
    }
    fn fault(&self) -> Fault {
        Fault::Developer
    }
}

fn listed(keys: &[Address]) -> String {
    keys.iter().map(Address::to_string).collect::<Vec<_>>().join(" and ")
}
