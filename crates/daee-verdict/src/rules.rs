//! What there is to say, and what it means.

mod artifact;
mod manifest;
mod package;
mod program;
mod run;
mod signature;
mod upgrade;

use crate::Level;

/// The SHA-256 or the CID is not the one that was named.
pub(crate) const ANOTHER_ARTIFACT: &str = "DAEE-A001";

/// One thing that can be said about a subject. Its id and its name stay what they are.
#[derive(Debug)]
pub struct Rule {
    /// Stable id, `DAEE-X000`.
    pub id: &'static str,
    /// The same for people, in kebab-case.
    pub name: &'static str,
    /// What it is about.
    pub group: Group,
    /// How much it matters unless a policy says otherwise.
    pub level: Level,
    /// No policy changes the level: what breaks it leaves something unread or unverified.
    pub fixed: bool,
    /// What is wrong.
    pub says: &'static str,
    /// What to do.
    pub fix: &'static str,
    /// What breaks it, and the same put right.
    pub example: Example,
}

/// What a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// An `agent.yaml`.
    Manifest,
    /// A module.
    Artifact,
    /// A package file.
    Package,
    /// A signature file.
    Signature,
    /// A version in the place of another.
    Upgrade,
    /// What went through the door while an agent ran.
    Run,
    /// How the parts fit together, and the program itself.
    Program,
}

/// Something that breaks a rule.
#[derive(Debug)]
pub enum Example {
    /// Lines of `agent.yaml`.
    Manifest {
        /// What breaks the rule.
        wrong: &'static str,
        /// The same put right.
        right: &'static str,
    },
    /// A module in the text format.
    Module {
        /// What breaks the rule.
        wrong: &'static str,
        /// The same put right.
        right: &'static str,
    },
    /// Lines of two manifests, of which the second is to take the place of the first.
    Upgrade {
        /// What runs.
        old: &'static str,
        /// What breaks the rule.
        new: &'static str,
    },
    /// What does not fit on a line: how it comes about.
    Told(&'static str),
}

/// All rules, group by group, in the order of their ids.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    [
        manifest::RULES,
        artifact::RULES,
        package::RULES,
        signature::RULES,
        upgrade::RULES,
        run::RULES,
        program::RULES,
    ]
    .into_iter()
    .flatten()
}

/// The rule with this id or this name.
pub fn rule(id_or_name: &str) -> Option<&'static Rule> {
    rules().find(|rule| rule.id == id_or_name || rule.name == id_or_name)
}

/// The rule whose id or name is nearest to what was written, if one is near.
pub fn rule_like(written: &str) -> Option<&'static Rule> {
    let known: Vec<&str> = rules().flat_map(|rule| [rule.id, rule.name]).collect();
    nearest(written, &known).and_then(rule)
}

/// The known word nearest to what was written, if it is near.
pub(crate) fn nearest<'a>(written: &str, known: &[&'a str]) -> Option<&'a str> {
    let written: String = written.chars().take(80).collect::<String>().to_lowercase();
    let distance = |known: &str| strsim::damerau_levenshtein(&written, &known.to_lowercase());
    let near = known.iter().map(|known| (distance(known), *known));
    let near = near.filter(|(distance, known)| *distance <= known.len().div_ceil(3)).min();
    near.map(|(_, known)| known)
}

impl Rule {
    /// Where it is explained.
    pub fn url(&self) -> String {
        let anchor = format!("{}-{}", self.id, self.name).to_lowercase();
        format!("{}/blob/main/docs/spec/verify.md#{anchor}", env!("CARGO_PKG_REPOSITORY"))
    }
}

impl Group {
    /// All of them, in their order.
    pub const ALL: [Self; 7] = [
        Self::Manifest,
        Self::Artifact,
        Self::Package,
        Self::Signature,
        Self::Upgrade,
        Self::Run,
        Self::Program,
    ];

    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Artifact => "artifact",
            Self::Package => "package",
            Self::Signature => "signature",
            Self::Upgrade => "upgrade",
            Self::Run => "run",
            Self::Program => "program",
        }
    }
}

/// What the tables below are made of.
const fn fixed(
    group: Group,
    id: &'static str,
    name: &'static str,
    says: &'static str,
    fix: &'static str,
    example: Example,
) -> Rule {
    Rule { id, name, group, level: Level::Error, fixed: true, says, fix, example }
}

const fn rule_of(
    group: Group,
    level: Level,
    id: &'static str,
    name: &'static str,
    says: &'static str,
    fix: &'static str,
    example: Example,
) -> Rule {
    Rule { id, name, group, level, fixed: false, says, fix, example }
}
