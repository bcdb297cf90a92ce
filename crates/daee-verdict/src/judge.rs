use std::io::{self, Read};

use daee_artifact::{
    BLOCK_BYTES_MAX, Cid, Hasher, ModuleFacts, ModuleReader, RunStyle, package as car,
};
use daee_manifest::{MANIFEST_BYTES_MAX, Manifest, Run};
use daee_types::ArtifactHash;

use crate::{Finding, Name, Report, Source, rules};

const WASM_PAGE_BYTES: u64 = 64 << 10;
/// Large enough that the calls do not count, small enough to stay in a core's cache.
const PIECE_BYTES: usize = 256 << 10;

/// What an artifact is held against.
#[derive(Clone, Debug)]
pub enum Expected {
    /// Nothing: the verdict says what it is, and that nobody compared.
    Nothing,
    /// Its SHA-256.
    Hash(ArtifactHash),
    /// Its CID.
    Cid(Cid),
    /// The `agent.yaml` that names it and says how it runs; it is judged, too.
    Manifest {
        /// What to call it.
        name: Name,
        /// Its bytes; those over the limit may be left out but for one.
        yaml: Vec<u8>,
    },
}

/// Judges an `agent.yaml`.
pub fn manifest(name: Name, from: impl Read) -> Report {
    let mut report = Report::new(name.clone());
    match limited(from, MANIFEST_BYTES_MAX) {
        Ok(yaml) => report.read_manifest(&yaml, name, None),
        Err(error) => report.unread(&name, error),
    }
    report
}

/// Judges a WebAssembly file of any size in one pass.
pub fn artifact(name: Name, from: impl Read, expected: &Expected) -> Report {
    let mut report = Report::new(name.clone());
    if let Expected::Manifest { name, yaml } = expected {
        report.read_manifest(yaml, name.clone(), None);
    }

    let (mut hasher, mut module, mut size) = (Hasher::new(), ModuleReader::new(), 0_u64);
    let read = pieces(from, |piece| {
        hasher.update(piece);
        module.update(piece);
        size += piece.len() as u64;
    });
    if let Err(error) = read {
        report.unread(&name, error);
        return report;
    }
    let hash = hasher.finish();
    match expected {
        Expected::Nothing => {
            let message = "nothing to compare the hash with: name --manifest, --hash or --cid";
            report.findings.push(Finding::note("DAEE-V010", message));
        }
        Expected::Hash(wanted) if hash != *wanted => {
            let message = format!("the artifact hashes to {hash}, not to {wanted}");
            report.findings.push(Finding::error(rules::ANOTHER_ARTIFACT, message));
        }
        Expected::Cid(wanted) if Cid::from(&hash) != *wanted => {
            let message = format!("the artifact's CID is {}, not {wanted}", Cid::from(&hash));
            report.findings.push(Finding::error(rules::ANOTHER_ARTIFACT, message));
        }
        Expected::Hash(_) | Expected::Cid(_) => {}
        Expected::Manifest { .. } => report.compare(&hash),
    }
    if size > BLOCK_BYTES_MAX as u64 {
        let message = format!(
            "{size} bytes are more than the {BLOCK_BYTES_MAX} that a package holds: this artifact \
             cannot be deployed yet"
        );
        report.findings.push(Finding::note("DAEE-V012", message));
    }
    report.judge_module(module);
    report.facts.push(("artifact_hash", hash.to_string()));
    if size <= BLOCK_BYTES_MAX as u64 {
        report.facts.push(("cid", Cid::from(&hash).to_string()));
    }
    report.facts.push(("bytes", size.to_string()));
    report
}

/// Judges a package file: its blocks, its manifest, its artifact, and whether they belong together.
pub fn package(name: Name, from: impl Read) -> Report {
    let mut report = Report::new(name.clone());
    let bytes = match limited(from, car::PACKAGE_BYTES_MAX) {
        Ok(bytes) if bytes.len() <= car::PACKAGE_BYTES_MAX => bytes,
        Ok(_) => {
            let message =
                format!("larger than {} bytes, and three blocks are not", car::PACKAGE_BYTES_MAX);
            report.findings.push(Finding::error(rules::TRAILING, message));
            return report;
        }
        Err(error) => {
            report.unread(&name, error);
            return report;
        }
    };
    let package = match car::read(&bytes) {
        Ok(package) => package,
        Err(error) => {
            report.findings.push(Finding::of(&error));
            return report;
        }
    };

    report.read_manifest(&package.yaml, name, Some("agent.yaml"));
    let hash = ArtifactHash::new(package.artifact_cid.digest());
    report.facts.push(("artifact_hash", hash.to_string()));
    report.facts.push(("cid", package.artifact_cid.to_string()));
    let Some(manifest) = &report.manifest else { return report };

    let same_body = package.body == manifest.canonical_body().as_bytes();
    // The one place that decides, so that this verdict is the node's.
    let artifact = package.artifact.verify(manifest.artifact_hash());
    if !same_body {
        let message = "the canonical body is not that of agent.yaml: pack it again";
        report.findings.push(Finding::error("DAEE-V002", message));
    }
    match artifact {
        Ok(artifact) => {
            let mut module = ModuleReader::new();
            module.update(artifact.bytes());
            report.judge_module(module);
        }
        Err(_) => report.compare(&hash),
    }
    report
}

impl Report {
    /// Reads a manifest; its problems and what there is to know of it are reported.
    fn read_manifest(&mut self, yaml: &[u8], file: Name, entry: Option<&'static str>) {
        let text = String::from_utf8_lossy(yaml).into_owned();
        let source = Source { file, entry, text };
        match Manifest::read(yaml) {
            Ok(manifest) => {
                self.facts.extend([
                    ("agent_id", manifest.agent_id().to_string()),
                    ("body_hash", manifest.body_hash().to_string()),
                    ("manifest_hash", manifest.manifest_hash().to_string()),
                ]);
                if manifest.resources().gpu > 0 {
                    let message = "a GPU is matched and paid for, but no operation uses one yet";
                    let place = manifest.place("resources.gpu");
                    self.findings.push(Finding::note("DAEE-V011", message).at(place, &source));
                }
                self.manifest = Some(manifest);
            }
            Err(problems) => {
                self.findings.extend(problems.into_iter().map(|problem| source.finding(problem)));
            }
        }
        self.source = Some(source);
    }

    fn compare(&mut self, found: &ArtifactHash) {
        let Some(manifest) = self.manifest.as_ref().filter(|m| m.artifact_hash() != found) else {
            return;
        };
        let message = format!("the artifact hashes to {found}: it is not the one named here");
        let place = manifest.place("artifact_hash");
        self.say(Finding::error(rules::ANOTHER_ARTIFACT, message), place);
    }

    fn judge_module(&mut self, module: ModuleReader) {
        let judged = match &self.manifest {
            Some(manifest) => module.finish(style_of(manifest)),
            // Nobody says how it is to run, so either way is fine; a reactor's problems say more.
            None => module
                .clone()
                .finish(None)
                .or_else(|problems| module.finish(Some(RunStyle::Resident)).map_err(|_| problems)),
        };
        match judged {
            Ok(facts) => self.module_passed(facts),
            Err(problems) => {
                self.findings.extend(problems.iter().map(Finding::of));
            }
        }
    }

    fn module_passed(&mut self, facts: ModuleFacts) {
        let style = match facts.style {
            RunStyle::Reactor => "reactor",
            RunStyle::Resident | RunStyle::PerEvent => "command",
        };
        self.facts.push(("style", style.to_owned()));
        let needed = facts.memory_pages.saturating_mul(WASM_PAGE_BYTES);
        if let Some(manifest) = self.manifest.as_ref().filter(|m| m.resources().memory.0 < needed) {
            let message = format!(
                "the artifact starts with {needed} bytes of memory, more than it asks for here"
            );
            let place = manifest.place("resources.memory");
            self.say(Finding::error("DAEE-V003", message), place);
        }
    }

    fn say(&mut self, finding: Finding, place: daee_manifest::Place) {
        let finding = match &self.source {
            Some(source) => finding.at(place, source),
            None => finding,
        };
        self.findings.push(finding);
    }

    fn unread(&mut self, name: &Name, error: io::Error) {
        self.fail(format_args!("{name} cannot be read: {error}"));
    }
}

fn style_of(manifest: &Manifest) -> Option<RunStyle> {
    match manifest.run() {
        Run::Reactor => None,
        Run::Resident => Some(RunStyle::Resident),
        Run::PerEvent => Some(RunStyle::PerEvent),
    }
}

/// Everything, but no more than one byte over `limit`, by which a reader sees that there is more.
fn limited(from: impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Everything, in pieces.
fn pieces(mut from: impl Read, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(len) => each(&buffer[..len]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
