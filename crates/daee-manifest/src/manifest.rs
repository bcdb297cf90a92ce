use std::collections::{BTreeMap, BTreeSet};

use daee_policy::{Permission, Policy};
use daee_types::{ArtifactHash, BodyHash, ByteSize, ManifestHash, Resources};

use crate::{
    fields::{self, AgentId, Durability, Endpoint, Run},
    problem::{Place, Problem, Span},
    raw::{self, Node, Pairs, Spot},
    scan,
    schedule::Schedule,
};

/// Most bytes that are read.
pub const MANIFEST_BYTES_MAX: usize = 64 << 10;
const DESCRIPTION_BYTES_MAX: usize = 1 << 10;
const LIST_MAX: usize = 64;

const KEYS: [&str; 16] = [
    "agent_id",
    "description",
    "compliance",
    "resources",
    "entry_point",
    "artifact_hash",
    "permissions",
    "run",
    "schedule",
    "env",
    "secrets",
    "args",
    "durability",
    "endpoint",
    "sla",
    "a2a",
];

/// A permission and the line it stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What is permitted.
    pub permission: Permission,
    /// Where, counted from 1; 0 in a manifest that was read from its canonical body.
    pub line: u32,
}

/// An agent's manifest. Only valid ones exist.
#[derive(Clone, Debug)]
pub struct Manifest {
    agent_id: AgentId,
    description: String,
    compliance: Vec<String>,
    resources: Resources,
    storage: ByteSize,
    entry_point: String,
    artifact_hash: ArtifactHash,
    permissions: Vec<Listed>,
    run: Run,
    schedule: Option<Schedule>,
    env: Vec<(String, String)>,
    secrets: Vec<String>,
    args: Vec<String>,
    durability: Durability,
    endpoint: Endpoint,
    canonical_body: String,
    spans: BTreeMap<String, Span>,
}

impl Manifest {
    /// Reads `agent.yaml`. Every problem at once, in the order of the text.
    pub fn read(bytes: &[u8]) -> Result<Self, Vec<Problem>> {
        let text = scan::scan(bytes, MANIFEST_BYTES_MAX)?;
        let mut problems = Vec::new();
        match raw::read_yaml(text, &mut problems) {
            Some(top) => Checks { top, problems }.finish(None),
            None => Err(sorted(problems)),
        }
    }

    /// Reads the canonical body, as nodes do, for an artifact that the chain names. Only the exact
    /// canonical bytes are taken.
    pub fn from_body(bytes: &[u8], artifact_hash: &ArtifactHash) -> Result<Self, Vec<Problem>> {
        let not_canonical =
            || vec![Problem::at(Span::START, "DAEE-M030", "not the canonical body of a manifest")];
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(not_canonical());
        }
        let top = raw::read_json(bytes).ok_or_else(not_canonical)?;
        let mut problems = Vec::new();
        raw::each_text(&top, &mut |text| {
            let hidden = scan::hidden(text);
            problems.extend(hidden.map(|said| Problem::at(Span::START, "DAEE-M001", said)));
        });
        let manifest = Checks { top, problems }.finish(Some(artifact_hash))?;
        if manifest.canonical_body.as_bytes() == bytes {
            Ok(manifest)
        } else {
            Err(not_canonical())
        }
    }

    /// Name and version.
    pub fn agent_id(&self) -> &AgentId {
        &self.agent_id
    }
    /// What it says of itself.
    pub fn description(&self) -> &str {
        &self.description
    }
    /// The TIPs it follows.
    pub fn compliance(&self) -> &[String] {
        &self.compliance
    }
    /// What it needs to run.
    pub fn resources(&self) -> Resources {
        self.resources
    }
    /// Quota of its keys and values.
    pub fn storage(&self) -> ByteSize {
        self.storage
    }
    /// Where the module lies beside the manifest.
    pub fn entry_point(&self) -> &str {
        &self.entry_point
    }
    /// SHA-256 of the module.
    pub fn artifact_hash(&self) -> &ArtifactHash {
        &self.artifact_hash
    }
    /// What it may do.
    pub fn permissions(&self) -> &[Listed] {
        &self.permissions
    }
    /// How it is entered.
    pub fn run(&self) -> Run {
        self.run
    }
    /// When it is woken.
    pub fn schedule(&self) -> Option<&Schedule> {
        self.schedule.as_ref()
    }
    /// Its environment.
    pub fn env(&self) -> &[(String, String)] {
        &self.env
    }
    /// Names of the secrets it may use.
    pub fn secrets(&self) -> &[String] {
        &self.secrets
    }
    /// Its arguments.
    pub fn args(&self) -> &[String] {
        &self.args
    }
    /// What its answers wait for.
    pub fn durability(&self) -> Durability {
        self.durability
    }
    /// Who may call it.
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint
    }
    /// RFC 8785 JSON of everything but `artifact_hash`.
    pub fn canonical_body(&self) -> &str {
        &self.canonical_body
    }
    /// SHA-256 of the canonical body.
    pub fn body_hash(&self) -> BodyHash {
        BodyHash::of(self.canonical_body.as_bytes())
    }
    /// What the chain binds artifact and body together with.
    pub fn manifest_hash(&self) -> ManifestHash {
        ManifestHash::of(&self.artifact_hash, &self.body_hash())
    }
    /// Where the value of a field begins, named as in [`Manifest::span`]; the start if it is left out.
    pub fn place(&self, field: &str) -> Place {
        self.span(field).unwrap_or(Span::START).place()
    }
    /// From where to where the value of a field stands, named as `artifact_hash`, `resources.gpu` or
    /// `permissions[2]`, which counts from 0; `None` if it is left out, or nobody has written it as in
    /// a canonical body.
    pub fn span(&self, field: &str) -> Option<Span> {
        self.spans.get(field).copied()
    }
    /// What its permissions allow.
    pub fn policy(&self) -> Policy {
        let lines = self.permissions.iter().map(|listed| (listed.permission.clone(), listed.line));
        Policy::new(lines.collect())
    }
}

/// Looks at each field once and keeps every problem.
struct Checks {
    top: Pairs,
    problems: Vec<Problem>,
}

impl Checks {
    fn finish(mut self, artifact_hash: Option<&ArtifactHash>) -> Result<Manifest, Vec<Problem>> {
        let keys: Vec<Spot<String>> = self.top.iter().map(|(key, _)| key.clone()).collect();
        self.known_once(&keys, &KEYS, "");
        let from_body = artifact_hash.is_some();
        let agent_id = self.required("agent_id", "DAEE-M010", |text| text.parse::<AgentId>());
        let description = self.optional("description", "DAEE-M011", |text| {
            let fits = text.len() <= DESCRIPTION_BYTES_MAX;
            if fits { Ok(text.to_owned()) } else { Err("longer than 1 KiB".to_owned()) }
        });
        let compliance = self.list("compliance", "DAEE-M012", |text| {
            let number = text.strip_prefix("TIP-").unwrap_or_default();
            let fine = !number.is_empty() && number.len() <= 6 && !number.starts_with('0');
            match fine && number.bytes().all(|b| b.is_ascii_digit()) {
                true => Ok(text.to_owned()),
                false => Err(format!("{:?} is not a TIP: write it as in TIP-3", cut(text))),
            }
        });
        let (resources, storage) = self.resources();
        let entry_point = self.required("entry_point", "DAEE-M017", |text| {
            fields::entry_point(text).map(|()| text.to_owned())
        });
        let artifact_hash = match artifact_hash {
            Some(hash) => {
                if let Some(node) = self.node("artifact_hash") {
                    self.wrong(node.span, "DAEE-M030", "a canonical body holds no artifact_hash");
                }
                Some(*hash)
            }
            None => self.required("artifact_hash", "DAEE-M018", |text| {
                let digits = text.strip_prefix("sha256:").unwrap_or(text);
                digits.parse::<ArtifactHash>().map_err(|_| {
                    let what = if text.contains("...") { "an abbreviated" } else { "not a SHA-256" };
                    format!(
                        "{what} hash: write the 64 lower-case hex digits that `sha256sum` prints for \
                         the .wasm file"
                    )
                })
            }),
        };
        let permissions = self.permissions(from_body);
        let run = self.optional("run", "DAEE-M020", |text| match text {
            "resident" => Ok(Run::Resident),
            "per-event" => Ok(Run::PerEvent),
            _ => Err(format!(
                "{:?} is not a way to run: write resident or per-event, or leave it out for a \
                 reactor",
                cut(text)
            )),
        });
        let schedule = self.optional("schedule", "DAEE-M021", |text| text.parse::<Schedule>());
        let env = self.map("env", "DAEE-M022", |name, value| {
            let fine = !name.is_empty()
                && name.len() <= 64
                && !name.starts_with(|c: char| c.is_ascii_digit())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if !fine {
                return Err(format!(
                    "{:?} is not a variable: write letters, digits and _",
                    cut(name)
                ));
            }
            if value.len() > 4096 {
                return Err(format!("{name} is longer than 4 KiB"));
            }
            Ok(())
        });
        let secrets = self.list("secrets", "DAEE-M023", |text| {
            let fine = !text.is_empty()
                && text.len() <= 64
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
            if fine {
                Ok(text.to_owned())
            } else {
                Err(format!(
                    "{:?} is not a secret's name: write letters, digits, _ and -",
                    cut(text)
                ))
            }
        });
        let args = self.list("args", "DAEE-M024", |text| {
            if text.len() <= 4096 {
                Ok(text.to_owned())
            } else {
                Err("longer than 4 KiB".to_owned())
            }
        });
        let durability = self.optional("durability", "DAEE-M025", |text| match text {
            "local" => Ok(Durability::Local),
            "turn" => Ok(Durability::Turn),
            "checkpoint" => Ok(Durability::Checkpoint),
            _ => {
                Err(format!("{:?} is not a durability: write local, turn or checkpoint", cut(text)))
            }
        });
        let endpoint = self.optional("endpoint", "DAEE-M026", |text| match text {
            "public" => Ok(Endpoint::Public),
            "private" => Ok(Endpoint::Private),
            _ => Err(format!("{:?} is not an endpoint: write public or private", cut(text))),
        });
        self.map("sla", "DAEE-M027", |name, value| match name {
            "heartbeat" | "grace" => match value.strip_suffix('s').map(str::parse::<u32>) {
                Some(Ok(seconds)) if seconds > 0 => Ok(()),
                _ => Err(format!("{:?} is not a time: write seconds as in 3600s", cut(value))),
            },
            _ => Err(format!("unknown key {} in sla: write heartbeat or grace", cut(name))),
        });
        self.map("a2a", "DAEE-M028", |name, value| {
            let fine = !name.is_empty()
                && name.len() <= 64
                && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
            if !fine || value.len() > DESCRIPTION_BYTES_MAX {
                return Err(
                    "a skill is a name of a-z, 0-9, - and _, and a text of at most 1 KiB".into()
                );
            }
            Ok(())
        });

        let body = self.top.iter().filter(|(key, _)| key.value != "artifact_hash");
        let canonical_body = raw::canonical(body);
        let spans = if from_body { BTreeMap::new() } else { self.spans() };
        let whole = (agent_id, entry_point, artifact_hash, resources);
        let (Some(agent_id), Some(entry_point), Some(artifact_hash), Some(resources)) = whole
        else {
            return Err(sorted(self.problems));
        };
        if !self.problems.is_empty() {
            return Err(sorted(self.problems));
        }
        Ok(Manifest {
            agent_id,
            description: description.unwrap_or_default(),
            compliance,
            resources,
            storage: storage.unwrap_or(ByteSize::mib(64)),
            entry_point,
            artifact_hash,
            permissions,
            run: run.unwrap_or_default(),
            schedule,
            env,
            secrets,
            args,
            durability: durability.unwrap_or_default(),
            endpoint: endpoint.unwrap_or_default(),
            canonical_body,
            spans,
        })
    }

    fn resources(&mut self) -> (Option<Resources>, Option<ByteSize>) {
        let (mut cpu, mut memory, mut gpu, mut storage) = (None, None, None, None);
        if self.node("resources").is_none() {
            self.missing("resources");
            return (None, None);
        }
        let Some(pairs) = self.pairs("resources") else { return (None, None) };
        let keys: Vec<Spot<String>> = pairs.iter().map(|(key, _)| key.clone()).collect();
        self.known_once(&keys, &["cpu", "memory", "gpu", "storage"], " in resources");
        for wanted in ["cpu", "memory"] {
            if !keys.iter().any(|key| key.value == wanted) {
                let above = self.top.iter().find(|(key, _)| key.value == "resources");
                let span = above.map_or(Span::START, |(key, _)| key.span);
                self.wrong(span, "DAEE-M005", &format!("resources.{wanted} is missing"));
            }
        }
        for (key, value) in &pairs {
            let text = value.value.as_str();
            let (rule, judged) = match key.value.as_str() {
                "cpu" => ("DAEE-M013", fields::cpu(text).map(|v| cpu = Some(v))),
                "memory" => ("DAEE-M014", fields::size(text).map(|v| memory = Some(v))),
                "gpu" => ("DAEE-M015", fields::gpu(text).map(|v| gpu = Some(v))),
                "storage" => ("DAEE-M016", fields::size(text).map(|v| storage = Some(v))),
                _ => continue,
            };
            if let Err(message) = judged {
                self.wrong(value.span, rule, &message);
            }
        }
        let resources = match (cpu, memory) {
            (Some(cpu), Some(memory)) => Some(Resources { cpu, memory, gpu: gpu.unwrap_or(0) }),
            _ => None,
        };
        (resources, storage)
    }

    fn permissions(&mut self, from_body: bool) -> Vec<Listed> {
        let mut listed: Vec<Listed> = Vec::new();
        for text in self.texts("permissions", "DAEE-M019") {
            match text.value.parse::<Permission>() {
                // Two spellings of one permission, as with and without `:443`, are twice the same.
                Ok(permission) if listed.iter().any(|other| other.permission == permission) => {
                    let message = format!("{permission} is in the list a second time");
                    self.wrong(text.span, "DAEE-M029", &message);
                }
                Ok(permission) => {
                    let line = if from_body { 0 } else { text.span.line };
                    listed.push(Listed { permission, line });
                }
                Err(error) => self.wrong(text.span, "DAEE-M019", &error.to_string()),
            }
        }
        listed
    }

    fn required<T>(
        &mut self,
        key: &str,
        rule: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if self.node(key).is_none() {
            self.missing(key);
        }
        self.optional(key, rule, read)
    }

    fn optional<T>(
        &mut self,
        key: &str,
        rule: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let node = self.node(key)?;
        let text = self.text(node, key)?;
        read(&text.value).map_err(|message| self.wrong(text.span, rule, &message)).ok()
    }

    fn list<T>(
        &mut self,
        key: &str,
        rule: &'static str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let mut all = Vec::new();
        for text in self.texts(key, rule) {
            match read(&text.value) {
                Ok(value) => all.push(value),
                Err(message) => self.wrong(text.span, rule, &message),
            }
        }
        all
    }

    fn map(
        &mut self,
        key: &str,
        rule: &'static str,
        check: impl Fn(&str, &str) -> Result<(), String>,
    ) -> Vec<(String, String)> {
        let Some(pairs) = self.pairs(key) else { return Vec::new() };
        if let Some((first_over, _)) = pairs.get(LIST_MAX) {
            self.wrong(first_over.span, rule, &format!("{key} has more than {LIST_MAX} entries"));
        }
        let mut seen = BTreeSet::new();
        for (name, value) in &pairs {
            if !seen.insert(name.value.as_str()) {
                let message = format!("{} stands here a second time", cut(&name.value));
                self.wrong(name.span, "DAEE-M004", &message);
            }
            if let Err(message) = check(&name.value, &value.value) {
                self.wrong(name.span, rule, &message);
            }
        }
        pairs.into_iter().map(|(name, value)| (name.value, value.value)).collect()
    }

    /// A list's texts; too many, or one twice, is a problem.
    fn texts(&mut self, key: &str, rule: &'static str) -> Vec<Spot<String>> {
        let Some(node) = self.node(key) else { return Vec::new() };
        let Node::List(all) = node.value else {
            self.wrong(node.span, "DAEE-M007", &format!("{key} must be a list of texts"));
            return Vec::new();
        };
        if all.len() > LIST_MAX {
            self.wrong(node.span, rule, &format!("{key} has more than {LIST_MAX} entries"));
        }
        let mut seen = BTreeSet::new();
        let mut texts = Vec::new();
        for text in all {
            let Some(text) = self.text(text, &format!("an entry of {key}")) else { continue };
            if seen.insert(text.value.clone()) {
                texts.push(text);
            } else {
                let message = format!("{:?} is in the list a second time", cut(&text.value));
                self.wrong(text.span, "DAEE-M029", &message);
            }
        }
        texts
    }

    /// A map's pairs of texts.
    fn pairs(&mut self, key: &str) -> Option<Vec<(Spot<String>, Spot<String>)>> {
        let node = self.node(key)?;
        let Node::Map(pairs) = node.value else {
            self.wrong(node.span, "DAEE-M007", &format!("{key} must be a map of texts"));
            return None;
        };
        let mut texts = Vec::new();
        for (name, value) in pairs {
            if let Some(value) = self.text(value, &format!("{key}.{}", cut(&name.value))) {
                texts.push((name, value));
            }
        }
        Some(texts)
    }

    fn text(&mut self, node: Spot<Node>, what: &str) -> Option<Spot<String>> {
        if let Node::Text(value) = node.value {
            return Some(Spot { value, span: node.span });
        }
        self.wrong(node.span, "DAEE-M007", &format!("{what} must be a text"));
        None
    }

    /// What stands under a key, the first time.
    fn node(&self, key: &str) -> Option<Spot<Node>> {
        self.top.iter().find(|(k, _)| k.value == key).map(|(_, node)| node.clone())
    }

    fn known_once(&mut self, keys: &[Spot<String>], known: &[&'static str], place: &str) {
        let mut seen = BTreeSet::new();
        for key in keys {
            if !known.contains(&key.value.as_str()) {
                let near = fields::nearest(&key.value, known.iter().copied());
                let hint = near.map_or(String::new(), |near| format!(", did you mean {near}?"));
                let message = format!("unknown key {}{place}{hint}", cut(&key.value));
                self.wrong(key.span, "DAEE-M003", &message);
            } else if !seen.insert(key.value.as_str()) {
                let message = format!("{} stands here a second time", key.value);
                self.wrong(key.span, "DAEE-M004", &message);
            }
        }
    }

    fn spans(&self) -> BTreeMap<String, Span> {
        let mut spans = BTreeMap::new();
        for (key, node) in &self.top {
            let key = &key.value;
            match &node.value {
                Node::Text(_) => {}
                Node::List(all) => {
                    let each = all.iter().enumerate();
                    spans.extend(each.map(|(at, spot)| (format!("{key}[{at}]"), spot.span)));
                }
                Node::Map(pairs) => {
                    let each = pairs.iter();
                    spans.extend(
                        each.map(|(name, spot)| (format!("{key}.{}", name.value), spot.span)),
                    );
                }
            }
            spans.insert(key.clone(), node.span);
        }
        spans
    }

    fn missing(&mut self, key: &str) {
        self.wrong(Span::START, "DAEE-M005", &format!("{key} is missing"));
    }

    fn wrong(&mut self, span: Span, rule: &'static str, message: &str) {
        self.problems.push(Problem::at(span, rule, message));
    }
}

/// In the order of the text. Where something is not written as text at all, what it would mean as
/// text is not held against it, too.
fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort();
    problems.dedup_by(|later, first| {
        let unread = matches!(first.rule, "DAEE-M002" | "DAEE-M006");
        later == first || unread && later.span() == first.span()
    });
    problems
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests;
