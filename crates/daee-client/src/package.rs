use std::{
    fmt, fs, io,
    io::Read as _,
    path::{Path, PathBuf},
};

use daee_artifact::{
    Artifact, Cid, MODULE_BYTES_MAX, ModuleFacts, ModuleProblem, RunStyle, Verified, check_module,
    package,
};
use daee_http::Bytes;
use daee_manifest::{MANIFEST_BYTES_MAX, Manifest, Place, Problem, Run};
use daee_types::{ArtifactHash, BodyHash, Coded, Fault};

use crate::fill::filled;

/// The manifest's name where only its folder is given.
pub const MANIFEST_FILE: &str = "agent.yaml";

const WASM_PAGE_BYTES: u64 = 64 << 10;
const HASH_FIELD: &str = "artifact_hash";

/// A manifest and the module it names, both judged as a node judges them. Only whole ones exist.
#[derive(Clone, Debug)]
pub struct Package {
    manifest: Manifest,
    artifact: Artifact<Verified>,
    yaml: Vec<u8>,
    car: Bytes,
}

/// What packing wrote.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The package.
    pub package: Package,
    /// Whether `artifact_hash` had to be written into the manifest.
    pub filled: bool,
    /// The package file.
    pub file: PathBuf,
}

/// One thing that is wrong with a package. Line and column, from 1, are of `agent.yaml`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// Stable rule, `DAEE-X000`.
    pub rule: &'static str,
    /// Line, where the finding is about the manifest.
    pub line: Option<u32>,
    /// Column in characters.
    pub column: Option<u32>,
    /// What is wrong and what to do.
    pub message: String,
}

/// Why there is no package.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackageError {
    /// A file is not there, or may not be read.
    #[error("{} cannot be read: {why}", .path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// What was read is not fit to be deployed.
    #[error("{}", listed(.file, .findings))]
    Wrong {
        /// The manifest, or the package file.
        file: PathBuf,
        /// All that is wrong, in the order of the manifest.
        findings: Vec<Finding>,
    },
    /// `artifact_hash` does not stand on a line of its own.
    #[error(
        "{}: cannot write artifact_hash in place: give it a line of its own, as in \
         `artifact_hash: \"\"`", .0.display()
    )]
    NoPlace(PathBuf),
    /// A file cannot be written.
    #[error("{} cannot be written: {why}", .path.display())]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
}

impl Coded for PackageError {
    fn code(&self) -> &'static str {
        match self {
            PackageError::Unreadable { .. } => "DAEE-U001",
            PackageError::Wrong { .. } => "DAEE-U002",
            PackageError::NoPlace(_) => "DAEE-U003",
            PackageError::Unwritable { .. } => "DAEE-U004",
        }
    }
    fn fault(&self) -> Fault {
        Fault::Developer
    }
}

impl Package {
    /// Reads a folder with an `agent.yaml`, a manifest and the module beside it, or a `.car` file, and
    /// changes nothing. Every problem at once.
    pub fn read(path: &Path) -> Result<Self, PackageError> {
        if path.extension().is_some_and(|ending| ending == "car") {
            let bytes = read(path, package::PACKAGE_BYTES_MAX)?;
            return Self::from_car(path, &bytes);
        }
        let source = Source::open(path)?;
        let wrong = |findings| PackageError::Wrong { file: source.file.clone(), findings };
        source.judge(&source.yaml).map_err(wrong)
    }

    /// Reads the same, writes the module's hash into the manifest where it is not there yet, leaving
    /// comments, order and everything else as they are, and writes the package file: to `out`, or
    /// beside the module. Nothing is written unless all of it is right.
    pub fn pack(path: &Path, out: Option<&Path>) -> Result<Packed, PackageError> {
        let source = Source::open(path)?;
        let (yaml, filled) = source.with_its_hash()?;
        let wrong = |findings| PackageError::Wrong { file: source.file.clone(), findings };
        let package = source.judge(&yaml).map_err(wrong)?;
        let file = match out {
            Some(out) => out.to_owned(),
            None => source.folder.join(package.manifest.entry_point()).with_extension("car"),
        };
        if filled {
            replace(&source.file, &yaml)?;
        }
        replace(&file, &package.car)?;
        Ok(Packed { package, filled, file })
    }

    /// Reads a package file's bytes; `file` is what to call it.
    pub fn from_car(file: &Path, bytes: &[u8]) -> Result<Self, PackageError> {
        let wrong = |findings| PackageError::Wrong { file: file.to_owned(), findings };
        let read = package::read(bytes).map_err(|error| wrong(vec![Finding::of(&error)]))?;
        let manifest = Manifest::read(&read.yaml)
            .map_err(|problems| wrong(problems.into_iter().map(Finding::from).collect()))?;
        if read.body != manifest.canonical_body().as_bytes() {
            let message = "the canonical body is not that of the agent.yaml inside: pack it again";
            return Err(wrong(vec![Finding::new("DAEE-U005", message)]));
        }
        let artifact = read.artifact.verify(manifest.artifact_hash());
        let artifact = artifact.map_err(|error| {
            let place = manifest.place(HASH_FIELD);
            let message = format!("{error}: pack it again");
            wrong(vec![Finding::new(error.code(), message).at(place)])
        })?;
        let findings = judge_module(artifact.bytes(), &manifest);
        if !findings.is_empty() {
            return Err(wrong(findings));
        }
        let car = Bytes::copy_from_slice(bytes);
        Ok(Self { manifest, artifact, yaml: read.yaml, car })
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }
    /// The module.
    pub fn artifact(&self) -> &Artifact<Verified> {
        &self.artifact
    }
    /// Size of the module in bytes.
    pub fn artifact_bytes(&self) -> u32 {
        u32::try_from(self.artifact.bytes().len()).expect("a block is at most 1 MiB")
    }
    /// SHA-256 of the manifest's canonical body.
    pub fn body_hash(&self) -> BodyHash {
        self.manifest.body_hash()
    }
    /// `agent.yaml`, as it goes into the package.
    pub fn yaml(&self) -> &[u8] {
        &self.yaml
    }
    /// CIDs of the three blocks: module, body, YAML.
    pub fn cids(&self) -> [Cid; 3] {
        [self.artifact.cid(), Cid::from(&self.body_hash()), Cid::of(&self.yaml)]
    }
    /// The package file.
    pub fn car(&self) -> Bytes {
        self.car.clone()
    }
}

impl Finding {
    fn new(rule: &'static str, message: impl Into<String>) -> Self {
        Self { rule, line: None, column: None, message: message.into() }
    }

    fn of(error: &impl Coded) -> Self {
        Self::new(error.code(), error.to_string())
    }

    fn at(self, Place { line, column }: Place) -> Self {
        Self { line: Some(line), column: Some(column), ..self }
    }
}

impl From<Problem> for Finding {
    fn from(problem: Problem) -> Self {
        let place = Place { line: problem.line, column: problem.column };
        Self::new(problem.rule, problem.message).at(place)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, "{line}:{column}: ")?;
        }
        write!(f, "{} [{}]", self.message, self.rule)
    }
}

/// A manifest as it lies on the disk.
struct Source {
    folder: PathBuf,
    file: PathBuf,
    yaml: Vec<u8>,
}

impl Source {
    fn open(path: &Path) -> Result<Self, PackageError> {
        let file = if path.is_dir() { path.join(MANIFEST_FILE) } else { path.to_owned() };
        let yaml = read(&file, MANIFEST_BYTES_MAX)?;
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        Ok(Self { folder, file, yaml })
    }

    fn judge(&self, yaml: &[u8]) -> Result<Package, Vec<Finding>> {
        let mut findings = Vec::new();
        let (manifest, hash_known) = match Manifest::read(yaml) {
            Ok(manifest) => (manifest, true),
            Err(problems) => {
                findings.extend(problems.into_iter().map(Finding::from));
                // If the hash is all that is wrong, the module can be judged all the same.
                let rest = filled(yaml, &ArtifactHash::ZERO).map(|yaml| Manifest::read(&yaml));
                let Some(Ok(manifest)) = rest else { return Err(findings) };
                for finding in &mut findings {
                    finding.message.push_str("; `daee-deploy pack` writes it for you");
                }
                (manifest, false)
            }
        };

        let path = self.folder.join(manifest.entry_point());
        let bytes = match read(&path, MODULE_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) => {
                let place = manifest.place("entry_point");
                findings.push(Finding::of(&error).at(place));
                return Err(findings);
            }
        };
        findings.extend(judge_module(&bytes, &manifest));
        let car = package::write(&bytes, manifest.canonical_body().as_bytes(), yaml);
        if let Err(error) = &car {
            findings.push(Finding::of(error));
        }
        let artifact = Artifact::fetched(bytes).verify(manifest.artifact_hash());
        if let Err(error) = &artifact
            && hash_known
        {
            let message = format!(
                "{} hashes to {}, and artifact_hash is {}: `daee-deploy pack {}` writes the new \
                 hash, unless another file was meant",
                manifest.entry_point(),
                error.found,
                error.expected,
                self.file.display(),
            );
            let place = manifest.place(HASH_FIELD);
            findings.push(Finding::new(error.code(), message).at(place));
        }
        match (car, artifact) {
            (Ok(car), Ok(artifact)) if findings.is_empty() => {
                Ok(Package { manifest, artifact, yaml: yaml.to_vec(), car: car.into() })
            }
            _ => {
                findings.sort_by_key(|finding| (finding.line.is_none(), finding.line));
                Err(findings)
            }
        }
    }

    /// The manifest with the hash of the module that is there, and whether that is new.
    fn with_its_hash(&self) -> Result<(Vec<u8>, bool), PackageError> {
        let wrong = |problems: Vec<Problem>| PackageError::Wrong {
            file: self.file.clone(),
            findings: problems.into_iter().map(Finding::from).collect(),
        };
        let found = Manifest::read(&self.yaml);
        let blank = filled(&self.yaml, &ArtifactHash::ZERO);
        let manifest = match (&found, &blank) {
            (Ok(manifest), _) => manifest.clone(),
            (Err(_), Some(blank)) => Manifest::read(blank).map_err(wrong)?,
            (Err(problems), None) => return Err(wrong(problems.clone())),
        };
        let path = self.folder.join(manifest.entry_point());
        let hash = ArtifactHash::of(&read(&path, MODULE_BYTES_MAX)?);
        if found.is_ok_and(|manifest| *manifest.artifact_hash() == hash) {
            return Ok((self.yaml.clone(), false));
        }
        let yaml = filled(&self.yaml, &hash);
        let yaml = yaml.ok_or_else(|| PackageError::NoPlace(self.file.clone()))?;
        // What was written is read back: the hash is there, and nothing else became another.
        match Manifest::read(&yaml) {
            Ok(written)
                if *written.artifact_hash() == hash
                    && written.canonical_body() == manifest.canonical_body() =>
            {
                Ok((yaml, true))
            }
            _ => Err(PackageError::NoPlace(self.file.clone())),
        }
    }
}

fn judge_module(bytes: &[u8], manifest: &Manifest) -> Vec<Finding> {
    let style = match manifest.run() {
        Run::Reactor => None,
        Run::Resident => Some(RunStyle::Resident),
        Run::PerEvent => Some(RunStyle::PerEvent),
    };
    match check_module(bytes, style) {
        Ok(ModuleFacts { memory_pages, .. }) => {
            let needed = memory_pages.saturating_mul(WASM_PAGE_BYTES);
            let asked = manifest.resources().memory;
            if needed <= asked.0 {
                return Vec::new();
            }
            let message = format!(
                "the module starts with {needed} bytes of memory, and resources.memory is {asked}: \
                 ask for more, or link with less"
            );
            vec![Finding::new("DAEE-U006", message).at(manifest.place("resources.memory"))]
        }
        Err(problems) => {
            let about =
                |problem: &ModuleProblem| Finding::of(problem).at(manifest.place("entry_point"));
            problems.iter().map(about).collect()
        }
    }
}

/// The whole file, and no more than one byte over `limit`, by which the reader sees that there is more.
fn read(path: &Path, limit: usize) -> Result<Vec<u8>, PackageError> {
    let mut bytes = Vec::new();
    let read =
        fs::File::open(path).and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => {
            Err(PackageError::Unreadable { path: path.to_owned(), why: error.to_string() })
        }
    }
}

/// Puts a file in another's place whole: whoever reads meanwhile sees one or the other.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), PackageError> {
    let failed = |error: io::Error| PackageError::Unwritable {
        path: path.to_owned(),
        why: error.to_string(),
    };
    // What a link points to is written, not the link.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = target.with_file_name(name);
    fs::write(&new, bytes).map_err(failed)?;
    if let Ok(old) = fs::metadata(&target) {
        fs::set_permissions(&new, old.permissions()).map_err(failed)?;
    }
    fs::rename(&new, &target).map_err(failed)
}

fn listed(file: &Path, findings: &[Finding]) -> String {
    let lines: Vec<String> =
        findings.iter().map(|finding| format!("{}:{finding}", file.display())).collect();
    lines.join("\n")
}
