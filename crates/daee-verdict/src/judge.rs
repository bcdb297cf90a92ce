use std::io::{self, Read};

use daee_artifact::{
    ARTIFACT_BYTES_MAX, ArtifactCid, ArtifactTooLarge, BLOCK_BYTES_MAX, Blake3Hasher, FileHasher,
    ModuleFacts, ModuleReader, OPERATIONS, Operation, RunStyle,
    package::{ArtifactReader, Parts, Reader},
};
use daee_manifest::{MANIFEST_BYTES_MAX, Manifest, Run, Span};
use daee_policy::Permission;
use daee_types::ArtifactHash;

use crate::{Finding, Group, Name, Report, Source, rules, whole::Whole};

const WASM_PAGE_BYTES: u64 = 64 << 10;
/// Large enough that the calls do not count, small enough to stay in a core's cache.
const PIECE_BYTES: usize = 256 << 10;
/// By which a CAR is told from other files.
const START_BYTES: u64 = 16;
/// Most bytes of a package: those of the artifact, and room for what stands around it.
const PACKAGE_BYTES_MAX: u64 = ARTIFACT_BYTES_MAX + (4 << 20);

/// What an artifact is held against, and what else is to be told of it.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// Its SHA-256.
    pub hash: Option<ArtifactHash>,
    /// Its CID.
    pub cid: Option<ArtifactCid>,
    /// The `agent.yaml` that names it and says how it runs; it is judged, too. Name and bytes, of which
    /// those over the limit may be left out but for one.
    pub manifest: Option<(Name, Vec<u8>)>,
    /// Whether to tell its BLAKE3, which nothing of ours asks for.
    pub blake3: bool,
}

/// Judges an `agent.yaml`.
pub fn manifest(name: Name, from: impl Read) -> Report {
    let mut report = Report::new(Group::Manifest, name.clone());
    match limited(from, MANIFEST_BYTES_MAX) {
        Ok(yaml) => report.read_manifest(&yaml, name, None),
        Err(error) => report.unread(&name, error),
    }
    report
}

/// Judges a WebAssembly file in one pass, or a CARv1 with one, as other tools export it.
pub fn artifact(name: Name, mut from: impl Read, expected: &Expected) -> Report {
    let mut report = Report::new(Group::Artifact, name.clone());
    if let Some((name, yaml)) = &expected.manifest {
        report.read_manifest(yaml, name.clone(), None);
    }

    let mut pass = Pass::new(expected.blake3);
    let mut car = None;
    let mut first = true;
    let read = pieces(&mut from, PACKAGE_BYTES_MAX, |piece| {
        if first && is_car(piece) {
            car = Some(ArtifactReader::new());
            pass.leaves = None;
        }
        first = false;
        match &mut car {
            Some(car) => car.update(piece, |artifact| pass.update(artifact)),
            None => pass.update(piece),
        }
        pass.size <= ARTIFACT_BYTES_MAX
    });
    if let Err(error) = read {
        report.unread(&name, error);
        return report;
    }
    let known = match car.map(ArtifactReader::finish).transpose() {
        Ok(known) => known.map(|(cid, _)| cid),
        Err(problems) => {
            report.findings.extend(problems.iter().map(Finding::of));
            return report;
        }
    };
    let Passed { hash, cid, size, module, blake3 } = match pass.finish(known) {
        Ok(passed) => passed,
        Err(error) => {
            report.findings.push(Finding::of(&error));
            return report;
        }
    };
    let nothing = expected.hash.is_none() && expected.cid.is_none() && expected.manifest.is_none();
    if nothing {
        let message = "nothing to compare the hash with: name --manifest, --hash or --cid";
        report.say("DAEE-V010", None, message);
    }
    if let Some(wanted) = expected.hash.filter(|wanted| *wanted != hash) {
        let message = format!("the artifact hashes to {hash}, not to {wanted}");
        report.say(rules::ANOTHER_ARTIFACT, None, message);
    }
    if let Some(wanted) = expected.cid.filter(|wanted| *wanted != cid) {
        let message = format!("the artifact's CID is {cid}, not {wanted}");
        report.say(rules::ANOTHER_ARTIFACT, None, message);
    }
    report.compare(&hash);
    report.judge_module(module);
    report.is_artifact(&hash, cid, size);
    report.facts.extend(blake3.map(|hash| ("blake3", hash)));
    report
}

/// Judges a package file: its blocks, its manifest, its artifact, and whether they belong together. It
/// may be of any size that a package can have, and is never held.
pub fn package(name: Name, mut from: impl Read) -> Report {
    let mut report = Report::new(Group::Package, name.clone());
    let (mut reader, mut pass) = (Reader::new(), Pass::new(false));
    pass.leaves = None;
    let read = pieces(&mut from, PACKAGE_BYTES_MAX, |piece| {
        reader.update(piece, |artifact| pass.update(artifact));
        true
    });
    if let Err(error) = read {
        report.unread(&name, error);
        return report;
    }
    let yaml = reader.yaml().map(<[u8]>::to_vec);
    let parts = reader.finish();
    if let Err(problems) = &parts {
        report.findings.extend(problems.iter().map(Finding::of));
    }
    if let Some(yaml) = yaml {
        // What is wrong with the artifact keeps nobody from judging the manifest.
        report.read_manifest(&yaml, name, Some("agent.yaml"));
    }
    let Ok(Parts { artifact, body, .. }) = parts else { return report };
    let Passed { hash, cid, size, module, .. } = match pass.finish(Some(artifact)) {
        Ok(passed) => passed,
        Err(error) => {
            report.findings.push(Finding::of(&error));
            return report;
        }
    };
    report.is_artifact(&hash, cid, size);
    let Some(manifest) = &report.manifest else { return report };
    if body != manifest.canonical_body().as_bytes() {
        let message = "the canonical body is not that of agent.yaml: pack it again";
        report.say("DAEE-V002", None, message);
    }
    report.compare(&hash);
    report.judge_module(module);
    report
}

/// Judges what may be either, as its first bytes have it.
pub fn manifest_or_package(name: Name, mut from: impl Read) -> Report {
    let mut start = Vec::new();
    if let Err(error) = from.by_ref().take(START_BYTES).read_to_end(&mut start) {
        let mut report = Report::new(Group::Program, name.clone());
        report.unread(&name, error);
        return report;
    }
    let car = is_car(&start);
    let whole = io::Cursor::new(start).chain(from);
    if car { package(name, whole) } else { manifest(name, whole) }
}

impl Report {
    /// Reads a manifest; its problems and what there is to know of it are reported.
    fn read_manifest(&mut self, yaml: &[u8], file: Name, entry: Option<&'static str>) {
        let text = String::from_utf8_lossy(yaml).into_owned();
        self.source = Some(Source { file, entry, text });
        match Manifest::read(yaml) {
            Ok(manifest) => {
                self.facts.extend([
                    ("agent_id", manifest.agent_id().to_string()),
                    ("body_hash", manifest.body_hash().to_string()),
                    ("manifest_hash", manifest.manifest_hash().to_string()),
                ]);
                if manifest.resources().gpu > 0 {
                    let message = "a GPU is matched and paid for, but no operation uses one yet";
                    self.say("DAEE-V011", manifest.span("resources.gpu"), message);
                }
                self.manifest = Some(manifest);
            }
            Err(problems) => self.findings.extend(problems.into_iter().map(Finding::from)),
        }
    }

    fn is_artifact(&mut self, hash: &ArtifactHash, cid: ArtifactCid, size: u64) {
        self.artifact = Some(cid);
        self.facts.extend([
            ("artifact_hash", hash.to_string()),
            ("cid", cid.to_string()),
            ("bytes", size.to_string()),
        ]);
    }

    fn compare(&mut self, found: &ArtifactHash) {
        let Some(manifest) = self.manifest.as_ref().filter(|m| m.artifact_hash() != found) else {
            return;
        };
        let place = manifest.span("artifact_hash");
        let message = format!("the artifact hashes to {found}: it is not the one named here");
        self.say(rules::ANOTHER_ARTIFACT, place, message);
    }

    fn judge_module(&mut self, module: ModuleReader) {
        let module = module.survey();
        let judged = match &self.manifest {
            Some(manifest) => module.judge(style_of(manifest)),
            // Nobody says how it is to run, so either way is fine; a reactor's problems say more.
            None => module
                .judge(None)
                .or_else(|problems| module.judge(Some(RunStyle::Resident)).map_err(|_| problems)),
        };
        match judged {
            Ok(facts) => self.module_passed(facts),
            Err(problems) => self.findings.extend(problems.iter().map(Finding::of)),
        }
    }

    fn module_passed(&mut self, facts: ModuleFacts) {
        let style = match facts.style {
            RunStyle::Reactor => "reactor",
            RunStyle::Resident | RunStyle::PerEvent => "command",
        };
        self.facts.push(("style", style.to_owned()));
        let needed = facts.memory_pages.saturating_mul(WASM_PAGE_BYTES);
        let too_small = |manifest: &&Manifest| manifest.resources().memory.0 < needed;
        if let Some(manifest) = self.manifest.as_ref().filter(too_small) {
            let place = manifest.span("resources.memory");
            let message = format!(
                "the artifact starts with {needed} bytes of memory, more than it asks for here"
            );
            self.say("DAEE-V003", place, message);
        }
        self.judge_operations(&facts.operations);
    }

    /// Holds the operations that a module names against what its manifest grants. A hint: a name may be
    /// there unused, and a module that names none at all may put them together while it runs.
    fn judge_operations(&mut self, named: &[&str]) {
        let Some(manifest) = self.manifest.as_ref().filter(|_| !named.is_empty()) else { return };
        let kind = |permission: &Permission| {
            let text = permission.to_string();
            text.split(':').next().unwrap_or_default().to_owned()
        };
        let granted: Vec<(String, Option<Span>)> = manifest
            .permissions()
            .iter()
            .enumerate()
            .map(|(at, listed)| {
                (kind(&listed.permission), manifest.span(&format!("permissions[{at}]")))
            })
            .collect();
        let whole = manifest.span("permissions");
        for Operation { name, permission } in OPERATIONS {
            let Some(needed) = permission else { continue };
            // An address is reached by the same operation as a name.
            let grants = |kind: &str| kind == needed || kind.strip_suffix("_ip") == Some(needed);
            let used = named.contains(&name);
            if used && !granted.iter().any(|(kind, _)| grants(kind)) {
                let message =
                    format!("the module names {name}, and no {needed} is listed: a call is denied");
                self.say("DAEE-V013", whole, message);
            }
            for (_, place) in granted.iter().filter(|(kind, _)| grants(kind) && !used) {
                let message = format!("the module does not name {name}, for which this is");
                self.say("DAEE-V014", *place, message);
            }
        }
    }

    fn unread(&mut self, name: &Name, error: io::Error) {
        self.fail(format_args!("{name} cannot be read: {error}"));
    }
}

/// Everything that is to be known of an artifact, taken from its bytes as they go by.
struct Pass {
    size: u64,
    /// The bytes, while they fit into one block, whose CID is their hash: nothing is hashed twice.
    head: Vec<u8>,
    whole: Option<Whole>,
    /// Nothing there where somebody else hashes the blocks.
    leaves: Option<FileHasher>,
    module: ModuleReader,
    blake3: Option<Blake3Hasher>,
}

struct Passed {
    hash: ArtifactHash,
    cid: ArtifactCid,
    size: u64,
    module: ModuleReader,
    blake3: Option<String>,
}

impl Pass {
    fn new(blake3: bool) -> Self {
        Self {
            size: 0,
            head: Vec::new(),
            whole: None,
            leaves: Some(FileHasher::new()),
            module: ModuleReader::new(),
            blake3: blake3.then(Blake3Hasher::new),
        }
    }

    fn update(&mut self, piece: &[u8]) {
        self.size += piece.len() as u64;
        self.module.update(piece);
        if let Some(blake3) = &mut self.blake3 {
            blake3.update(piece);
        }
        if self.size <= BLOCK_BYTES_MAX as u64 {
            self.head.extend_from_slice(piece);
            return;
        }
        let whole = self.whole.get_or_insert_with(Whole::new);
        for bytes in [&std::mem::take(&mut self.head), piece] {
            // To the other thread first, so that it has work while the leaves are hashed here.
            whole.update(bytes);
            if let Some(leaves) = &mut self.leaves {
                leaves.update(bytes);
            }
        }
    }

    /// `known` is the CID under which all of these bytes were verified.
    fn finish(self, known: Option<ArtifactCid>) -> Result<Passed, ArtifactTooLarge> {
        let Self { size, head, whole, leaves, module, blake3 } = self;
        let hash = match (whole, known) {
            (Some(whole), _) => whole.finish(),
            (None, Some(ArtifactCid::Block(cid))) => ArtifactHash::new(cid.digest()),
            (None, _) => ArtifactHash::of(&head),
        };
        let cid = match (known, leaves) {
            (Some(cid), _) => cid,
            (None, Some(leaves)) if size > BLOCK_BYTES_MAX as u64 => leaves.finish()?.cid(),
            (None, _) => ArtifactCid::Block((&hash).into()),
        };
        let blake3 = blake3.map(|hasher| {
            hasher.finish().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        });
        Ok(Passed { hash, cid, size, module, blake3 })
    }
}

fn style_of(manifest: &Manifest) -> Option<RunStyle> {
    match manifest.run() {
        Run::Reactor => None,
        Run::Resident => Some(RunStyle::Resident),
        Run::PerEvent => Some(RunStyle::PerEvent),
    }
}

/// Whether a stream starts as a CARv1 does: a length, and a map with `roots`.
fn is_car(start: &[u8]) -> bool {
    let head = &start[..start.len().min(START_BYTES as usize)];
    !head.starts_with(b"\0asm") && head.windows(6).any(|word| word == b"\x65roots")
}

/// Everything, but no more than one byte over `limit`, by which a reader sees that there is more.
fn limited(from: impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Everything in pieces, but no more than one byte over `limit`, and only while it is wanted.
fn pieces(from: impl Read, limit: u64, mut each: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
    let mut from = from.take(limit + 1);
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(len) if !each(&buffer[..len]) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
