use std::collections::{BTreeMap, BTreeSet};

use daee_policy::{Permission, Policy};
use daee_types::{ArtifactHash, BodyHash, ByteSize, ManifestHash, Resources};

use crate::{
    fields::{self, AgentId, Durability, Endpoint, Run, cut, did_you_mean},
    problem::{Place, Problem, Span},
    raw::{self, Node, Pairs, Spot},
    scan,
    schedule::Schedule,
    table::{self, Field, Holds, LIST_MAX},
};

/// Most bytes that are read.
pub const MANIFEST_BYTES_MAX: usize = 64 << 10;

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
    /// Quota of its keys, values and files.
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
    /// Its environment, by name.
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
        self.known_once(&keys, &table::FIELDS, "");
        let from_body = artifact_hash.is_some();
        let agent_id = self.text(&table::AGENT_ID, str::parse::<AgentId>);
        let description = self.text(&table::DESCRIPTION, as_it_is);
        let compliance = self.list(&table::COMPLIANCE, fields::tip);
        let (resources, storage) = self.resources();
        let entry_point = self.text(&table::ENTRY_POINT, fields::entry_point);
        let artifact_hash = match artifact_hash {
            Some(hash) => {
                if let Some(node) = self.node("artifact_hash") {
                    self.wrong(node.span, "DAEE-M030", "a canonical body holds no artifact_hash");
                }
                Some(*hash)
            }
            None => self.text(&table::ARTIFACT_HASH, fields::hash),
        };
        let permissions = self.permissions(from_body);
        let run = self.one_of(&table::RUN, [Run::Resident, Run::PerEvent]);
        let schedule = self.text(&table::SCHEDULE, str::parse::<Schedule>);
        let env = self.pairs(&table::ENV, fields::variable);
        let secrets = self.list(&table::SECRETS, fields::secret);
        let args = self.list(&table::ARGS, as_it_is);
        let durability = self.one_of(
            &table::DURABILITY,
            [Durability::Local, Durability::Turn, Durability::Checkpoint],
        );
        let endpoint = self.one_of(&table::ENDPOINT, [Endpoint::Public, Endpoint::Private]);
        let sla = self.fields(&table::SLA);
        self.inner(&sla, &table::HEARTBEAT, fields::seconds);
        self.inner(&sla, &table::GRACE, fields::seconds);
        self.pairs(&table::A2A, fields::skill);

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
        let pairs = self.fields(&table::RESOURCES);
        let cpu = self.inner(&pairs, &table::CPU, fields::cpu);
        let memory = self.inner(&pairs, &table::MEMORY, fields::size);
        let gpu = self.inner(&pairs, &table::GPU, fields::gpu).unwrap_or(0);
        let storage = self.inner(&pairs, &table::STORAGE, fields::size);
        let resources = cpu.zip(memory).map(|(cpu, memory)| Resources { cpu, memory, gpu });
        (resources, storage)
    }

    fn permissions(&mut self, from_body: bool) -> Vec<Listed> {
        let mut listed: Vec<Listed> = Vec::new();
        for text in self.texts(&table::PERMISSIONS) {
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
                Err(error) => {
                    self.wrong(text.span, table::PERMISSIONS.rule, &error.to_string());
                }
            }
        }
        listed
    }

    /// A field that is a text.
    fn text<T>(
        &mut self,
        field: &'static Field,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let Some(node) = self.node(field.name) else {
            self.missing(field);
            return None;
        };
        let text = self.as_text(node, field.name)?;
        self.judge(field, &text, read)
    }

    /// A field that is one of a few words, in the order of its table.
    fn one_of<T: Copy, const N: usize>(
        &mut self,
        field: &'static Field,
        values: [T; N],
    ) -> Option<T> {
        self.text(field, |text| {
            let words = words(field).map(|(word, _)| *word);
            let found = words.clone().zip(values).find(|(word, _)| *word == text);
            found.map(|(_, value)| value).ok_or_else(|| {
                let hint = did_you_mean(text, words.clone());
                let words: Vec<&str> = words.collect();
                let (last, others) = words.split_last().expect("there are words");
                let write = format!("{} or {last}", others.join(", "));
                format!("{:?} is not a value of {}: write {write}{hint}", cut(text), field.name)
            })
        })
    }

    /// A list of texts.
    fn list<T>(
        &mut self,
        field: &'static Field,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let texts = self.texts(field);
        texts.iter().filter_map(|text| self.judge(field, text, &read)).collect()
    }

    /// A map of names and texts that the developer chooses, by name.
    fn pairs(
        &mut self,
        field: &'static Field,
        name_fits: impl Fn(&str) -> Result<(), String>,
    ) -> Vec<(String, String)> {
        let Holds::Pairs { name: of_name, value: of_value } = field.holds else {
            return Vec::new();
        };
        let Some(pairs) = self.map(field) else { return Vec::new() };
        if let Some((first_over, _)) = pairs.get(LIST_MAX) {
            let message = format!("{} has more than {LIST_MAX} entries", field.name);
            self.wrong(first_over.span, field.rule, &message);
        }
        let mut seen = BTreeSet::new();
        for (name, value) in &pairs {
            if !seen.insert(name.value.as_str()) {
                let message = format!("{} stands here a second time", cut(&name.value));
                self.wrong(name.span, "DAEE-M004", &message);
            }
            if let Err(message) = of_name.fits(&name.value).and_then(&name_fits) {
                self.wrong(name.span, field.rule, &message);
            }
            if let Err(message) = of_value.fits(&value.value) {
                let message = format!("{} is {message}", cut(&name.value));
                self.wrong(value.span, field.rule, &message);
            }
        }
        let mut texts: Vec<_> =
            pairs.into_iter().map(|(name, value)| (name.value, value.value)).collect();
        // As the canonical body has them, so that both give an agent the same.
        texts.sort();
        texts
    }

    /// The texts of a field that has fields of its own.
    fn fields(&mut self, field: &'static Field) -> Vec<(Spot<String>, Spot<String>)> {
        let Holds::Fields(known) = field.holds else { return Vec::new() };
        if self.node(field.name).is_none() {
            self.missing(field);
        }
        let Some(pairs) = self.map(field) else { return Vec::new() };
        let keys: Vec<Spot<String>> = pairs.iter().map(|(key, _)| key.clone()).collect();
        self.known_once(&keys, known, &format!(" in {}", field.name));
        for wanted in known.iter().filter(|wanted| wanted.required) {
            if !keys.iter().any(|key| key.value == wanted.name) {
                let above = self.top.iter().find(|(key, _)| key.value == field.name);
                let span = above.map_or(Span::START, |(key, _)| key.span);
                let message = format!("{}.{} is missing", field.name, wanted.name);
                self.wrong(span, "DAEE-M005", &message);
            }
        }
        pairs
    }

    /// One of the fields of a field.
    fn inner<T>(
        &mut self,
        pairs: &[(Spot<String>, Spot<String>)],
        field: &'static Field,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (_, text) = pairs.iter().find(|(key, _)| key.value == field.name)?;
        self.judge(field, text, read)
    }

    fn judge<T>(
        &mut self,
        field: &'static Field,
        text: &Spot<String>,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let fits = match field.holds {
            Holds::Text(of) | Holds::List(of) => of.fits(&text.value),
            _ => Ok(text.value.as_str()),
        };
        let judged = fits.and_then(read);
        judged.map_err(|message| self.wrong(text.span, field.rule, &message)).ok()
    }

    /// A list's texts; too many, or one twice, is a problem.
    fn texts(&mut self, field: &'static Field) -> Vec<Spot<String>> {
        let Field { name, rule, .. } = *field;
        let Some(node) = self.node(name) else { return Vec::new() };
        let Node::List(mut all) = node.value else {
            self.wrong(node.span, "DAEE-M007", &format!("{name} must be a list of texts"));
            return Vec::new();
        };
        if let Some(first_over) = all.get(LIST_MAX) {
            let message = format!("{name} has more than {LIST_MAX} entries");
            self.wrong(first_over.span, rule, &message);
            all.truncate(LIST_MAX);
        }
        let mut seen = BTreeSet::new();
        let mut texts = Vec::new();
        for text in all {
            let Some(text) = self.as_text(text, &format!("an entry of {name}")) else { continue };
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
    fn map(&mut self, field: &'static Field) -> Option<Vec<(Spot<String>, Spot<String>)>> {
        let node = self.node(field.name)?;
        let Node::Map(pairs) = node.value else {
            let message = format!("{} must be a map of texts", field.name);
            self.wrong(node.span, "DAEE-M007", &message);
            return None;
        };
        let mut texts = Vec::new();
        for (name, value) in pairs {
            let what = format!("{}.{}", field.name, cut(&name.value));
            if let Some(value) = self.as_text(value, &what) {
                texts.push((name, value));
            }
        }
        Some(texts)
    }

    fn as_text(&mut self, node: Spot<Node>, what: &str) -> Option<Spot<String>> {
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

    fn known_once(&mut self, keys: &[Spot<String>], known: &[&'static Field], place: &str) {
        let mut seen = BTreeSet::new();
        for key in keys {
            if !table::names(known).any(|name| name == key.value) {
                let hint = did_you_mean(&key.value, table::names(known));
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

    fn missing(&mut self, field: &Field) {
        if field.required {
            self.wrong(Span::START, "DAEE-M005", &format!("{} is missing", field.name));
        }
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

fn as_it_is(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

fn words(field: &'static Field) -> std::slice::Iter<'static, (&'static str, &'static str)> {
    match &field.holds {
        Holds::Text(of) => of.words.iter(),
        _ => [].iter(),
    }
}

#[cfg(test)]
mod tests;
