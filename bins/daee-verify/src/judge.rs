use daee_artifact::{
    BLOCK_BYTES_MAX, Cid, Hasher, ModuleFacts, ModuleProblem, ModuleReader, RunStyle, package,
};
use daee_manifest::{MANIFEST_BYTES_MAX, Manifest, Place, Problem, Run};
use daee_types::{ArtifactHash, Coded};

use crate::{
    arguments::Expected,
    input::{Input, InputError},
    report::{Finding, Report, Source},
};

const WASM_PAGE_BYTES: u64 = 64 << 10;

/// Judges an `agent.yaml`.
pub fn manifest(file: &Input) -> Result<Report, InputError> {
    let mut report = Report::default();
    let yaml = file.read(MANIFEST_BYTES_MAX)?;
    read_manifest(&yaml, file.to_string(), &mut report);
    Ok(report)
}

/// Judges a WebAssembly file of any size in one pass.
pub fn artifact(file: &Input, expected: &Expected) -> Result<Report, InputError> {
    let mut report = Report::default();
    let manifest = match &expected.manifest {
        Some(from) => {
            let yaml = from.read(MANIFEST_BYTES_MAX)?;
            read_manifest(&yaml, from.to_string(), &mut report)
        }
        None => None,
    };

    let (mut hasher, mut module, mut size) = (Hasher::new(), ModuleReader::new(), 0_u64);
    file.read_pieces(|piece| {
        hasher.update(piece);
        module.update(piece);
        size += piece.len() as u64;
    })?;
    let hash = hasher.finish();

    if let Some(manifest) = &manifest {
        compare(&hash, manifest, &mut report);
    } else if let Some(wanted) = &expected.hash {
        if hash != *wanted {
            let message = format!("the artifact hashes to {hash}, not to {wanted}");
            report.findings.push(Finding::error("DAEE-A001", message));
        }
    } else if let Some(wanted) = &expected.cid {
        if Cid::from(&hash) != *wanted {
            let message = format!("the artifact's CID is {}, not {wanted}", Cid::from(&hash));
            report.findings.push(Finding::error("DAEE-A001", message));
        }
    } else if expected.manifest.is_none() {
        let message = "nothing to compare the hash with: name --manifest, --hash or --cid";
        report.findings.push(Finding::info("DAEE-V010", message));
    }
    if size > BLOCK_BYTES_MAX as u64 {
        let message = format!(
            "{size} bytes are more than the {BLOCK_BYTES_MAX} that a package holds: this artifact \
             cannot be deployed yet"
        );
        report.findings.push(Finding::info("DAEE-V012", message));
    }
    let style = manifest.as_ref().map(style_of);
    let module = match style {
        Some(style) => module.finish(style),
        // Nobody says how it is to run, so either way is fine; a reactor's problems say more.
        None => module
            .clone()
            .finish(None)
            .or_else(|problems| module.finish(Some(RunStyle::Resident)).map_err(|_| problems)),
    };
    judge_module(module, manifest.as_ref(), &mut report);
    report.facts.push(("artifact_hash", hash.to_string()));
    if size <= BLOCK_BYTES_MAX as u64 {
        report.facts.push(("cid", Cid::from(&hash).to_string()));
    }
    report.facts.push(("bytes", size.to_string()));
    Ok(report)
}

/// Judges a package file.
pub fn package(file: &Input) -> Result<Report, InputError> {
    let mut report = Report::default();
    let bytes = file.read(package::PACKAGE_BYTES_MAX)?;
    if bytes.len() > package::PACKAGE_BYTES_MAX {
        let message =
            format!("larger than {} bytes, and three blocks are not", package::PACKAGE_BYTES_MAX);
        report.findings.push(Finding::error("DAEE-A014", message));
        return Ok(report);
    }
    let package = match package::read(&bytes) {
        Ok(package) => package,
        Err(error) => {
            report.findings.push(Finding::error(error.code(), error.to_string()));
            return Ok(report);
        }
    };

    let name = format!("{file}: agent.yaml");
    let manifest = read_manifest(&package.yaml, name, &mut report);
    let hash = ArtifactHash::new(package.artifact_cid.digest());
    report.facts.push(("artifact_hash", hash.to_string()));
    report.facts.push(("cid", package.artifact_cid.to_string()));
    let Some(manifest) = manifest else { return Ok(report) };

    if package.body != manifest.canonical_body().as_bytes() {
        let message = "the canonical body is not that of agent.yaml: pack it again";
        report.findings.push(Finding::error("DAEE-V002", message));
    }
    // The one place that decides, so that this verdict is the node's.
    match package.artifact.verify(manifest.artifact_hash()) {
        Ok(artifact) => {
            let module = daee_artifact::check_module(artifact.bytes(), style_of(&manifest));
            judge_module(module, Some(&manifest), &mut report);
        }
        Err(_) => compare(&hash, &manifest, &mut report),
    }
    Ok(report)
}

/// Reads a manifest; its problems and what there is to know of it go into the report.
fn read_manifest(yaml: &[u8], name: String, report: &mut Report) -> Option<Manifest> {
    let text = String::from_utf8_lossy(yaml).into_owned();
    report.source = Some(Source { name, text });
    match Manifest::read(yaml) {
        Ok(manifest) => {
            report.facts.extend([
                ("agent_id", manifest.agent_id().to_string()),
                ("body_hash", manifest.body_hash().to_string()),
                ("manifest_hash", manifest.manifest_hash().to_string()),
            ]);
            if manifest.resources().gpu > 0 {
                let message = "a GPU is matched and paid for, but no operation uses one yet";
                let Place { line, column } = manifest.place("resources.gpu");
                report.findings.push(Finding::info("DAEE-V011", message).at(line, column));
            }
            Some(manifest)
        }
        Err(problems) => {
            report.findings.extend(problems.into_iter().map(finding_of));
            None
        }
    }
}

fn finding_of(problem: Problem) -> Finding {
    Finding::error(problem.rule, problem.message).at(problem.line, problem.column)
}

fn compare(found: &ArtifactHash, manifest: &Manifest, report: &mut Report) {
    if found == manifest.artifact_hash() {
        return;
    }
    let message = format!("the artifact hashes to {found}: it is not the one named here");
    let Place { line, column } = manifest.place("artifact_hash");
    report.findings.push(Finding::error("DAEE-A001", message).at(line, column));
}

fn judge_module(
    module: Result<ModuleFacts, Vec<ModuleProblem>>,
    manifest: Option<&Manifest>,
    report: &mut Report,
) {
    match module {
        Ok(facts) => {
            let style = match facts.style {
                RunStyle::Reactor => "reactor",
                RunStyle::Resident | RunStyle::PerEvent => "command",
            };
            report.facts.push(("style", style.to_owned()));
            let needed = facts.memory_pages.saturating_mul(WASM_PAGE_BYTES);
            if let Some(manifest) = manifest.filter(|m| m.resources().memory.0 < needed) {
                let message = format!(
                    "the artifact starts with {needed} bytes of memory, more than it asks for here"
                );
                let Place { line, column } = manifest.place("resources.memory");
                report.findings.push(Finding::error("DAEE-V003", message).at(line, column));
            }
        }
        Err(problems) => {
            report.findings.extend(problems.iter().map(|p| Finding::error(p.code(), p.to_string())))
        }
    }
}

fn style_of(manifest: &Manifest) -> Option<RunStyle> {
    match manifest.run() {
        Run::Reactor => None,
        Run::Resident => Some(RunStyle::Resident),
        Run::PerEvent => Some(RunStyle::PerEvent),
    }
}
