use std::{borrow::Cow, collections::BTreeMap, fmt};

use daee_manifest::Manifest;
use daee_signer::publisher::{SignedRotation, Trust};
use daee_types::{Address, Coded, Domain, Fault};
use serde_json::Value;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{Group, Level, Report, Signers, permission, rule, rules, rules::nearest};

/// Most bytes of a policy that are read.
pub const POLICY_BYTES_MAX: usize = 64 << 10;

const LEVELS: [(&str, Option<Level>); 4] = [
    ("off", None),
    ("note", Some(Level::Note)),
    ("warning", Some(Level::Warning)),
    ("error", Some(Level::Error)),
];

/// What a release has to keep besides the rules: how much each of them matters, who signs, and what any
/// agent may ask for at most.
#[derive(Debug, Default)]
pub struct Policy {
    /// Nothing there switches the rule off.
    levels: BTreeMap<&'static str, Option<Level>>,
    fail_on: Option<Level>,
    signers: Option<Signers>,
    bounds: Option<Bounds>,
}

/// Nothing is asked of a field that is not there.
#[derive(Debug)]
struct Bounds {
    /// A manifest in which no permission and no resource is more than an agent may have.
    most: Manifest,
    fields: Vec<&'static str>,
}

/// Why a text is no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {why}")]
pub struct PolicyError {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1, in characters.
    pub column: usize,
    /// What is wrong there.
    pub why: String,
}

impl Coded for PolicyError {
    fn code(&self) -> &'static str {
        "DAEE-V030"
    }
    fn fault(&self) -> Fault {
        Fault::Developer
    }
}

impl Policy {
    /// Reads TOML. What is unknown is an error, and so is a level that would hide something unread or
    /// unverified.
    pub fn read(bytes: &[u8]) -> Result<Self, PolicyError> {
        let at_start = |why: &str| PolicyError { line: 1, column: 1, why: why.to_owned() };
        if bytes.len() > POLICY_BYTES_MAX {
            return Err(at_start("larger than 64 KiB, the most that a policy may have"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| at_start("not UTF-8"))?;
        let read = || -> Result<Self, Wrong> {
            let table = DeTable::parse(text).map_err(|error| Wrong {
                at: error.span().unwrap_or_default().start,
                why: error.message().to_owned(),
            })?;
            Self::from_table(table.get_ref())
        };
        read().map_err(|Wrong { at, why }| {
            let before = text.get(..at).unwrap_or(text);
            let line = before.split('\n').count();
            let last = before.rsplit('\n').next().unwrap_or_default();
            PolicyError { line, column: last.chars().count() + 1, why }
        })
    }

    /// Whose signatures are asked for.
    pub fn signers(&self) -> Option<&Signers> {
        self.signers.as_ref()
    }

    /// Holds a report against the bounds, and gives each finding the level that the policy has for it.
    /// Comes last: only what is found by then is changed.
    pub fn apply(&self, report: &mut Report) {
        if let Some(bounds) = &self.bounds {
            bounds.judge(report);
        }
        report.findings.retain_mut(|finding| match self.levels.get(finding.rule) {
            Some(Some(level)) => {
                finding.level = *level;
                true
            }
            Some(None) => false,
            None => true,
        });
        report.fail_on = self.fail_on.unwrap_or(Level::Error);
    }

    fn from_table(table: &DeTable<'_>) -> Result<Self, Wrong> {
        let mut policy = Self::default();
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "fail_on" => policy.fail_on = Some(fail_on(value)?),
                "levels" => policy.levels = levels(value)?,
                "signatures" => policy.signers = Some(signers(value)?),
                "bounds" => policy.bounds = Some(bounds(value)?),
                other => {
                    return Err(unknown(
                        key,
                        other,
                        &["fail_on", "levels", "signatures", "bounds"],
                    ));
                }
            }
        }
        Ok(policy)
    }
}

impl Bounds {
    fn judge(&self, report: &mut Report) {
        let Some(manifest) = report.manifest.take() else { return };
        let has = |field| self.fields.contains(&field);
        if has("permissions") {
            let allowed = self.most.permissions();
            for (at, wanted) in manifest.permissions().iter().enumerate() {
                let wanted = &wanted.permission;
                if !allowed.iter().any(|most| permission::covers(&most.permission, wanted)) {
                    let place = manifest.span(&format!("permissions[{at}]"));
                    let message = format!("{wanted} is outside of what the policy allows");
                    report.say("DAEE-V020", place, message);
                }
            }
        }
        let (most, asked) = (self.most.resources(), manifest.resources());
        let mut over =
            |field: &'static str, over: bool, asked: &dyn fmt::Display, most: &dyn fmt::Display| {
                if has(field) && over {
                    let place = manifest.span(&format!("resources.{field}"));
                    let message = format!("{field} is {asked}, and the policy allows {most}");
                    report.say("DAEE-V021", place, message);
                }
            };
        over("cpu", asked.cpu > most.cpu, &asked.cpu, &most.cpu);
        over("memory", asked.memory > most.memory, &asked.memory, &most.memory);
        over("gpu", asked.gpu > most.gpu, &asked.gpu, &most.gpu);
        let (most, asked) = (self.most.storage(), manifest.storage());
        over("storage", asked > most, &asked, &most);
        report.manifest = Some(manifest);
    }
}

/// Where in the text, in bytes, and what.
#[derive(Debug)]
struct Wrong {
    at: usize,
    why: String,
}

fn wrong<T>(at: &Spanned<T>, why: impl Into<String>) -> Wrong {
    Wrong { at: at.span().start, why: why.into() }
}

fn unknown<T>(at: &Spanned<T>, written: &str, known: &[&str]) -> Wrong {
    let near = nearest(written, known);
    let hint = near.map_or(String::new(), |near| format!(", did you mean {near}?"));
    let shown: String = written.chars().take(80).collect();
    wrong(at, format!("unknown: {shown}{hint}"))
}

fn fail_on(value: &Spanned<DeValue<'_>>) -> Result<Level, Wrong> {
    level(value)?.ok_or_else(|| wrong(value, "off would fail on nothing: write error at least"))
}

fn level(value: &Spanned<DeValue<'_>>) -> Result<Option<Level>, Wrong> {
    let text = text(value)?;
    let known = LEVELS.iter().find(|(name, _)| *name == text);
    known
        .map(|(_, level)| *level)
        .ok_or_else(|| unknown(value, text, &LEVELS.map(|(name, _)| name)))
}

fn levels(value: &Spanned<DeValue<'_>>) -> Result<BTreeMap<&'static str, Option<Level>>, Wrong> {
    let mut levels = BTreeMap::new();
    for (key, value) in table_of(value)? {
        let written = key.get_ref().as_ref();
        let Some(rule) = rule(written) else {
            let known: Vec<&str> = rules().flat_map(|rule| [rule.id, rule.name]).collect();
            return Err(unknown(key, written, &known));
        };
        let level = level(value)?;
        if rule.fixed && level != Some(rule.level) {
            let why = format!(
                "{} ({}) cannot be lowered: something stays unread or unverified where it is broken",
                rule.id, rule.name
            );
            return Err(wrong(key, why));
        }
        if levels.insert(rule.id, level).is_some() {
            return Err(wrong(key, format!("{} ({}) has a level already", rule.id, rule.name)));
        }
    }
    Ok(levels)
}

fn signers(value: &Spanned<DeValue<'_>>) -> Result<Signers, Wrong> {
    const KEYS: [&str; 5] = ["threshold", "signers", "rotations", "chain_id", "contract"];
    let (mut threshold, mut addresses, mut rotations) = (1, Vec::new(), Vec::new());
    let (mut chain_id, mut contract) = (None, None);
    for (key, value) in table_of(value)? {
        match key.get_ref().as_ref() {
            "threshold" => {
                let number = u32::try_from(integer(value)?);
                threshold = number.map_err(|_| wrong(value, "not a number of signers"))?;
            }
            "signers" => {
                for value in array(value)? {
                    addresses.push(address(value)?);
                }
            }
            "rotations" => {
                for value in array(value)? {
                    let read = serde_json::from_value::<SignedRotation>(json(value)?);
                    rotations.push(read.map_err(|error| wrong(value, error.to_string()))?);
                }
            }
            "chain_id" => chain_id = Some(integer(value)?),
            "contract" => contract = Some(address(value)?),
            other => return Err(unknown(key, other, &KEYS)),
        }
    }
    let domain = match (chain_id, contract) {
        (Some(chain_id), Some(manager)) => Some(Domain { chain_id, manager }),
        (None, None) => None,
        _ => return Err(wrong(value, "chain_id and contract belong together: write both or none")),
    };
    let trust = Trust::new(addresses, threshold, rotations);
    Ok(Signers { trust: trust.map_err(|error| wrong(value, error.to_string()))?, domain })
}

/// Bounds are written as in a manifest, so they are read as one.
fn bounds(value: &Spanned<DeValue<'_>>) -> Result<Bounds, Wrong> {
    const KEYS: [&str; 5] = ["permissions", "cpu", "memory", "gpu", "storage"];
    let mut fields = Vec::new();
    let mut resources = BTreeMap::from([("cpu", "1".to_owned()), ("memory", "1GiB".to_owned())]);
    let mut permissions = Vec::new();
    for (key, value) in table_of(value)? {
        let written = key.get_ref().as_ref();
        let Some(known) = KEYS.into_iter().find(|known| *known == written) else {
            return Err(unknown(key, written, &KEYS));
        };
        fields.push(known);
        if known == "permissions" {
            for value in array(value)? {
                permissions.push(text(value)?.to_owned());
            }
        } else {
            resources.insert(known, text(value)?.to_owned());
        }
    }
    // JSON is YAML, with every text in quotes.
    let yaml = serde_json::json!({
        "agent_id": "policy.bounds@v1.0.0",
        "entry_point": "any.wasm",
        "artifact_hash": "0".repeat(64),
        "resources": resources,
        "permissions": permissions,
    });
    let most = Manifest::read(yaml.to_string().as_bytes()).map_err(|problems| {
        let said: Vec<String> = problems.into_iter().map(|problem| problem.message).collect();
        wrong(value, said.join("; "))
    })?;
    Ok(Bounds { most, fields })
}

type Pair<'a, 'b> = (&'a Spanned<Cow<'b, str>>, &'a Spanned<DeValue<'b>>);

/// The pairs of a table, in the order of the text.
fn table_of<'a, 'b>(value: &'a Spanned<DeValue<'b>>) -> Result<Vec<Pair<'a, 'b>>, Wrong> {
    let table = value.get_ref().as_table().ok_or_else(|| wrong(value, "a table is wanted here"))?;
    let mut pairs: Vec<Pair<'a, 'b>> = table.iter().collect();
    pairs.sort_by_key(|(key, _)| key.span().start);
    Ok(pairs)
}

fn array<'a, 'b>(value: &'a Spanned<DeValue<'b>>) -> Result<&'a [Spanned<DeValue<'b>>], Wrong> {
    match value.get_ref() {
        DeValue::Array(all) => Ok(all),
        _ => Err(wrong(value, "a list is wanted here")),
    }
}

fn text<'a>(value: &'a Spanned<DeValue<'_>>) -> Result<&'a str, Wrong> {
    value.get_ref().as_str().ok_or_else(|| wrong(value, "a text in quotes is wanted here"))
}

fn integer(value: &Spanned<DeValue<'_>>) -> Result<u64, Wrong> {
    let DeValue::Integer(number) = value.get_ref() else {
        return Err(wrong(value, "a whole number is wanted here"));
    };
    let read = u64::from_str_radix(number.as_str(), number.radix());
    read.map_err(|_| wrong(value, "a whole number is wanted here"))
}

fn address(value: &Spanned<DeValue<'_>>) -> Result<Address, Wrong> {
    text(value)?.parse().map_err(|error| wrong(value, format!("{error}")))
}

/// Texts, numbers and tables of them: what a rotation is made of.
fn json(value: &Spanned<DeValue<'_>>) -> Result<Value, Wrong> {
    match value.get_ref() {
        DeValue::String(text) => Ok(Value::from(text.as_ref())),
        DeValue::Integer(_) => integer(value).map(Value::from),
        DeValue::Table(table) => {
            let pairs =
                table.iter().map(|(key, value)| Ok((key.get_ref().to_string(), json(value)?)));
            pairs.collect::<Result<serde_json::Map<_, _>, Wrong>>().map(Value::Object)
        }
        _ => Err(wrong(value, "a text, a number or a table is wanted here")),
    }
}

impl Report {
    /// Says that the policy is none, so that there is no verdict.
    pub fn refuse_policy(&mut self, name: &crate::Name, error: &PolicyError) {
        self.kind = Group::Program;
        self.fail_by(error.code(), format!("{name}:{error}"));
    }
}
