use std::{
    fmt, fs, io,
    io::{BufWriter, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use daee_artifact::{
    Artifact, ArtifactCid, BLOCK_BYTES_MAX, Cid, FileHasher, FileLayout, Hasher, Verified, package,
    package::{PACKAGE_BYTES_MAX, Reader, Writer},
};
use daee_http::Bytes;
use daee_ipfs::{Car, Source};
use daee_manifest::{MANIFEST_BYTES_MAX, Manifest};
use daee_signer::publisher::{SIGNATURE_FILE_BYTES_MAX, signature_path};
use daee_types::{ArtifactHash, BodyHash, ByteSize, Coded, Fault};
use daee_verdict::{Expected, Finding, Group, Name, Policy, Report, Verdict};

use crate::fill::{filled, noted};

/// The manifest's name where only its folder is given.
pub const MANIFEST_FILE: &str = "agent.yaml";

const HASH_FIELD: &str = "artifact_hash";
const PIECE_BYTES: usize = 256 << 10;

/// A manifest and the artifact it names, judged as nodes judge them, and of any size: what is packed and
/// published. Large artifacts stay in their file. Only whole ones exist.
#[derive(Clone, Debug)]
pub struct Parcel {
    manifest: Manifest,
    yaml: Bytes,
    bytes: u64,
    car: Car,
    signatures: PathBuf,
}

/// One whose artifact is one block: what nodes run and contracts take in this version.
#[derive(Clone, Debug)]
pub struct Package {
    parcel: Parcel,
    artifact: Artifact<Verified>,
    car: Bytes,
}

/// What packing wrote.
#[derive(Clone, Debug)]
pub struct Packed<P = Package> {
    /// The package.
    pub package: P,
    /// Whether hash and CID had to be written into the manifest.
    pub filled: bool,
    /// The package file.
    pub file: PathBuf,
}

/// Why there is no package.
#[derive(Debug, thiserror::Error)]
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
    #[error("{}", Listed(.0))]
    Wrong(Box<Report>),
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
    /// A file cannot be brought along.
    #[error("{} cannot be brought along: {why}", .path.display())]
    Files {
        /// Which.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// Fit for what is to come, and too large for now.
    #[error(
        "the artifact has {0}, and nodes and contracts take one block of 1 MiB in this version: strip \
         it, optimise it for size (`wasm-opt -Oz --strip-debug`), or read what is large with \
         `ipfs.read`; nothing was paid"
    )]
    TooLarge(ByteSize),
}

impl Coded for PackageError {
    fn code(&self) -> &'static str {
        match self {
            PackageError::Unreadable { .. } => "DAEE-U001",
            PackageError::Wrong(_) => "DAEE-U002",
            PackageError::NoPlace(_) => "DAEE-U003",
            PackageError::Unwritable { .. } => "DAEE-U004",
            PackageError::TooLarge(_) => "DAEE-U007",
            PackageError::Files { .. } => "DAEE-U008",
        }
    }
    fn fault(&self) -> Fault {
        Fault::Developer
    }
}

/// Judges a folder with an `agent.yaml`, a manifest and the artifact beside it, or a `.car` file, as a
/// policy has it, and changes nothing. What cannot be read is said in the report.
pub fn check(path: &Path, policy: &Policy) -> Report {
    let mut report = match judged(path) {
        Ok(Judged { mut report, signatures, .. }) => {
            if policy.signers().is_some() {
                match beside(&signatures) {
                    Ok(file) => report.judge_signatures(file.as_deref(), policy.signers()),
                    Err(error) => report.fail(error),
                }
            }
            report
        }
        Err(error) => {
            let mut report = Report::new(Group::Program, Name::from(path));
            report.fail(error);
            report
        }
    };
    policy.apply(&mut report);
    report
}

impl Parcel {
    /// Reads what [`check`] judges, if nothing is wrong with it.
    pub fn read(path: &Path) -> Result<Self, PackageError> {
        judged(path)?.parcel()
    }

    /// Reads the same, writes the artifact's hash and CID into the manifest where they are not there yet,
    /// leaving comments, order and everything else as they are, and writes the package file: to `out`, or
    /// beside the artifact. Nothing is written unless all of it is right.
    pub fn pack(path: &Path, out: Option<&Path>) -> Result<Packed<Self>, PackageError> {
        Ok(pack(path, out)?.0)
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }
    /// SHA-256 of the artifact.
    pub fn artifact_hash(&self) -> &ArtifactHash {
        self.manifest.artifact_hash()
    }
    /// Size of the artifact in bytes.
    pub fn artifact_bytes(&self) -> u64 {
        self.bytes
    }
    /// What the artifact is found by.
    pub fn cid(&self) -> ArtifactCid {
        self.car.roots()[0]
    }
    /// SHA-256 of the manifest's canonical body.
    pub fn body_hash(&self) -> BodyHash {
        self.manifest.body_hash()
    }
    /// The package as it is handed over.
    pub fn car(&self) -> &Car {
        &self.car
    }
    /// The file with the publisher's signatures, where there is one.
    pub fn signatures(&self) -> Option<&Path> {
        self.signatures.is_file().then_some(&self.signatures)
    }
}

impl Package {
    /// Reads what [`check`] judges, if nothing is wrong with it and its artifact is one block.
    pub fn read(path: &Path) -> Result<Self, PackageError> {
        let judged = judged(path)?;
        let artifact = judged.bytes.clone();
        Self::of(judged.parcel()?, artifact)
    }

    /// [`Parcel::pack`], if the artifact is one block.
    pub fn pack(path: &Path, out: Option<&Path>) -> Result<Packed, PackageError> {
        let (Packed { package, filled, file }, artifact) = pack(path, out)?;
        Ok(Packed { package: Self::of(package, artifact)?, filled, file })
    }

    fn of(parcel: Parcel, artifact: Option<Bytes>) -> Result<Self, PackageError> {
        let size = parcel.bytes;
        let artifact = artifact.filter(|_| matches!(parcel.cid(), ArtifactCid::Block(_)));
        let bytes = artifact.ok_or(PackageError::TooLarge(ByteSize(size)))?;
        let body = parcel.manifest.canonical_body().as_bytes();
        let file = Path::new(parcel.manifest.entry_point());
        let car =
            package::write(&bytes, body, &parcel.yaml).map_err(|error| wrong(file, &error))?;
        let artifact = Artifact::fetched(bytes.into()).verify(parcel.artifact_hash());
        let artifact = artifact.map_err(|error| wrong(file, &error))?;
        Ok(Self { artifact, car: car.into(), parcel })
    }

    /// Reads a package file's bytes; `file` is what to call it.
    pub fn from_car(file: &Path, bytes: &[u8]) -> Result<Self, PackageError> {
        let judged = judged_car(file, &Bytes::copy_from_slice(bytes));
        let artifact = judged.bytes.clone();
        Self::of(judged.parcel()?, artifact)
    }

    /// The same as what is published.
    pub fn parcel(&self) -> &Parcel {
        &self.parcel
    }
    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.parcel.manifest
    }
    /// The module.
    pub fn artifact(&self) -> &Artifact<Verified> {
        &self.artifact
    }
    /// Size of the module in bytes.
    pub fn artifact_bytes(&self) -> u32 {
        u32::try_from(self.parcel.bytes).expect("a block is at most 1 MiB")
    }
    /// SHA-256 of the manifest's canonical body.
    pub fn body_hash(&self) -> BodyHash {
        self.parcel.body_hash()
    }
    /// `agent.yaml`, as it goes into the package.
    pub fn yaml(&self) -> &[u8] {
        &self.parcel.yaml
    }
    /// CIDs of the three blocks: module, body, YAML.
    pub fn cids(&self) -> [Cid; 3] {
        [self.artifact.cid(), Cid::from(&self.body_hash()), Cid::of(&self.parcel.yaml)]
    }
    /// The package file.
    pub fn car(&self) -> Bytes {
        self.car.clone()
    }
}

/// Packs, and gives the artifact back where it is held.
fn pack(path: &Path, out: Option<&Path>) -> Result<(Packed<Parcel>, Option<Bytes>), PackageError> {
    let folder = Folder::open(path)?;
    let (yaml, filled) = folder.with_its_hash()?;
    let judged = folder.judge(&yaml)?;
    let (layout, held) = (judged.layout.clone(), judged.bytes.clone());
    let mut package = judged.parcel()?;
    let artifact = folder.path.join(package.manifest.entry_point());
    let file = out.map_or_else(|| artifact.with_extension("car"), Path::to_owned);
    let body = package.manifest.canonical_body().as_bytes();
    let layout = layout.expect("what became a parcel has one");
    let mut writer = Writer::new(layout, body, &yaml).map_err(|error| wrong(path, &error))?;
    replace(&file, |to| {
        let mut written = Ok(());
        let mut put = |bytes: &[u8]| {
            if written.is_ok() {
                written = to.write_all(bytes);
            }
        };
        match &held {
            Some(artifact) => writer.update(artifact, &mut put),
            None => pieces(fs::File::open(&artifact)?, |piece| writer.update(piece, &mut put))?,
        }
        writer.finish(&mut put).map_err(io::Error::other)?;
        written
    })?;
    // Last: the package is whole by then.
    if filled {
        replace(&folder.file, |to| to.write_all(&yaml))?;
    }
    // Where whoever reads the package file looks for it.
    package.signatures = signature_path(&file, false);
    Ok((Packed { package, filled, file }, held))
}

/// A verdict, and what it takes to make a parcel of what was judged.
struct Judged {
    path: PathBuf,
    report: Report,
    yaml: Bytes,
    layout: Option<FileLayout>,
    source: Source,
    /// The artifact, where it is small enough to be held.
    bytes: Option<Bytes>,
    signatures: PathBuf,
}

impl Judged {
    fn parcel(self) -> Result<Parcel, PackageError> {
        if self.report.verdict() != Verdict::Verified {
            return Err(PackageError::Wrong(Box::new(self.report)));
        }
        // One pass judged it, and another found out where it lies.
        let judged = self.report.artifact;
        let layout = self.layout.filter(|layout| judged == Some(layout.cid()));
        let (Some(manifest), Some(layout)) = (self.report.manifest, layout) else {
            let why = "it changed while it was read".to_owned();
            return Err(PackageError::Unreadable { path: self.path, why });
        };
        let body = Bytes::copy_from_slice(manifest.canonical_body().as_bytes());
        let bytes = layout.size();
        let car = Car::package(layout, &self.source, body, self.yaml.clone());
        let car = car.map_err(|error| wrong(&self.path, &error))?;
        Ok(Parcel { manifest, yaml: self.yaml, bytes, car, signatures: self.signatures })
    }
}

fn judged(path: &Path) -> Result<Judged, PackageError> {
    if path.extension().is_none_or(|ending| ending != "car") {
        let folder = Folder::open(path)?;
        return folder.judge(&folder.yaml);
    }
    let failed = |error: io::Error| unreadable(path, &error);
    let mut file = fs::File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    if size <= PACKAGE_BYTES_MAX as u64 {
        return Ok(judged_car(path, &read(path, PACKAGE_BYTES_MAX)?.into()));
    }
    let report = daee_verdict::package(path.into(), &mut file);
    // Once more for where everything lies, if it is worth it.
    let (mut reader, mut leaves) = (Reader::new(), FileHasher::new());
    if report.verdict() == Verdict::Verified {
        file.rewind().map_err(failed)?;
        pieces(file, |piece| reader.update(piece, |artifact| leaves.update(artifact)))
            .map_err(failed)?;
    }
    let parts = reader.finish().ok();
    let layout = parts.as_ref().and_then(|_| leaves.finish().ok());
    Ok(Judged {
        path: path.to_owned(),
        report,
        yaml: parts.map(|parts| parts.yaml).unwrap_or_default().into(),
        layout,
        source: Source::Package(path.into()),
        bytes: None,
        signatures: signature_path(path, false),
    })
}

/// A package file that is held.
fn judged_car(path: &Path, car: &Bytes) -> Judged {
    let report = daee_verdict::package(path.into(), &car[..]);
    let (mut reader, mut leaves, mut artifact) = (Reader::new(), FileHasher::new(), Vec::new());
    reader.update(car, |piece| {
        leaves.update(piece);
        artifact.extend_from_slice(piece);
    });
    let parts = reader.finish().ok();
    let artifact = Bytes::from(artifact);
    Judged {
        path: path.to_owned(),
        report,
        layout: parts.as_ref().and_then(|_| leaves.finish().ok()),
        yaml: parts.map(|parts| parts.yaml).unwrap_or_default().into(),
        source: Source::Bytes(artifact.clone()),
        bytes: Some(artifact),
        signatures: signature_path(path, false),
    }
}

/// The artifact that a folder or manifest names.
pub(crate) fn artifact_of(path: &Path) -> Result<PathBuf, PackageError> {
    let folder = Folder::open(path)?;
    let (_, manifest) = folder.manifest()?;
    Ok(folder.path.join(manifest.entry_point()))
}

/// A manifest as it lies on the disk.
struct Folder {
    /// Where the artifact is looked for.
    path: PathBuf,
    file: PathBuf,
    yaml: Bytes,
    signatures: PathBuf,
}

impl Folder {
    fn open(path: &Path) -> Result<Self, PackageError> {
        let is_folder = path.is_dir();
        let file = if is_folder { path.join(MANIFEST_FILE) } else { path.to_owned() };
        let yaml = read(&file, MANIFEST_BYTES_MAX)?.into();
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        Ok(Self { path: folder, file, yaml, signatures: signature_path(path, is_folder) })
    }

    fn judge(&self, yaml: &Bytes) -> Result<Judged, PackageError> {
        let mut judged = Judged {
            path: self.file.clone(),
            report: daee_verdict::manifest(Name::from(&*self.file), &yaml[..]),
            yaml: yaml.clone(),
            layout: None,
            source: Source::Bytes(Bytes::new()),
            bytes: None,
            signatures: self.signatures.clone(),
        };
        let known = judged.report.manifest.clone();
        // If the hash is all that is wrong, the artifact can be judged all the same.
        let blank = || Manifest::read(&filled(yaml, &ArtifactHash::ZERO)?).ok();
        let Some(manifest) = known.clone().or_else(blank) else { return Ok(judged) };

        let path = self.path.join(manifest.entry_point());
        let found = match Found::open(&path) {
            Ok(found) => found,
            Err(error) => {
                let finding = Finding::of(&error).at(manifest.span("entry_point"));
                judged.report.findings.push(finding);
                return Ok(judged);
            }
        };
        let named = match known {
            Some(_) => yaml.to_vec(),
            None => filled(yaml, &found.hash).expect("it could be filled before"),
        };
        let added = lines(&named) - lines(yaml);
        let manifest = Some((Name::from(&*self.file), named));
        let expected = Expected { manifest, ..Expected::default() };
        let name = Name::from(&*path);
        let report = match &found.bytes {
            Some(bytes) => daee_verdict::artifact(name, &bytes[..], &expected),
            None => {
                let file = fs::File::open(&path).map_err(|error| unreadable(&path, &error))?;
                daee_verdict::artifact(name, file, &expected)
            }
        };
        match known {
            Some(_) => judged.report = report,
            None => add_artifact(&mut judged.report, report, added),
        }
        judged.layout = found.layout;
        judged.source = match &found.bytes {
            Some(bytes) => Source::Bytes(bytes.clone()),
            None => Source::Artifact(Arc::from(path)),
        };
        judged.bytes = found.bytes;
        Ok(judged)
    }

    /// The manifest, and the same or one whose hash is still to be found.
    fn manifest(&self) -> Result<(Option<Manifest>, Manifest), PackageError> {
        let report = daee_verdict::manifest(Name::from(&*self.file), &self.yaml[..]);
        let blank = filled(&self.yaml, &ArtifactHash::ZERO);
        let manifest = match (&report.manifest, &blank) {
            (Some(manifest), _) => manifest.clone(),
            (None, Some(blank)) => {
                let blank = daee_verdict::manifest(Name::from(&*self.file), &blank[..]);
                match blank.manifest {
                    Some(manifest) => manifest,
                    None => return Err(PackageError::Wrong(Box::new(blank))),
                }
            }
            (None, None) => return Err(PackageError::Wrong(Box::new(report))),
        };
        Ok((report.manifest, manifest))
    }

    /// The manifest with hash and CID of the artifact that is there, and whether that is new.
    fn with_its_hash(&self) -> Result<(Bytes, bool), PackageError> {
        let (known, manifest) = self.manifest()?;
        let found = Found::open(&self.path.join(manifest.entry_point()))?;
        let no_place = || PackageError::NoPlace(self.file.clone());
        let known = known.is_some_and(|known| *known.artifact_hash() == found.hash);
        let yaml = match known {
            true => self.yaml.to_vec(),
            false => filled(&self.yaml, &found.hash).ok_or_else(no_place)?,
        };
        let yaml = match &found.layout {
            Some(layout) => noted(&yaml, &layout.cid()).ok_or_else(no_place)?,
            None => yaml,
        };
        // What was written is read back: the hash is there, and nothing else became another.
        match Manifest::read(&yaml) {
            Ok(written)
                if *written.artifact_hash() == found.hash
                    && written.canonical_body() == manifest.canonical_body() =>
            {
                let is_new = yaml != self.yaml;
                Ok((yaml.into(), is_new))
            }
            _ => Err(no_place()),
        }
    }
}

/// An artifact as it lies on the disk.
struct Found {
    hash: ArtifactHash,
    /// Nothing if it is larger than any artifact may be.
    layout: Option<FileLayout>,
    /// All of it, if it fits into a block.
    bytes: Option<Bytes>,
}

impl Found {
    fn open(path: &Path) -> Result<Self, PackageError> {
        let (mut hasher, mut leaves, mut head) = (Hasher::new(), FileHasher::new(), Vec::new());
        let mut size = 0;
        let read = fs::File::open(path).and_then(|file| {
            pieces(file, |piece| {
                hasher.update(piece);
                leaves.update(piece);
                size += piece.len();
                if size <= BLOCK_BYTES_MAX {
                    head.extend_from_slice(piece);
                }
            })
        });
        read.map_err(|error| unreadable(path, &error))?;
        let bytes = (size <= BLOCK_BYTES_MAX).then(|| head.into());
        Ok(Self { hash: hasher.finish(), layout: leaves.finish().ok(), bytes })
    }
}

/// Adds what is to be said of an artifact whose manifest lacks its hash, which `pack` writes. That may have
/// put lines in.
fn add_artifact(manifest: &mut Report, artifact: Report, added: u32) {
    for finding in &mut manifest.findings {
        finding.message.push_str("; `daee-deploy pack` writes it for you");
    }
    let hash_line = artifact.manifest.as_ref().and_then(|manifest| manifest.span(HASH_FIELD));
    let hash_line = hash_line.map_or(0, |span| span.line);
    for mut finding in artifact.findings {
        if let Some(place) = finding.place.as_mut().filter(|place| place.line > hash_line) {
            place.line -= added;
            place.end_line -= added;
        }
        manifest.findings.push(finding);
    }
    manifest.findings.sort_by_key(|finding| finding.place.map_or(u32::MAX, |place| place.line));
    let artifacts = |(name, _): &(&str, String)| matches!(*name, "artifact_hash" | "cid" | "bytes");
    manifest.facts.extend(artifact.facts.into_iter().filter(artifacts));
}

fn lines(text: &[u8]) -> u32 {
    text.iter().filter(|byte| **byte == b'\n').count().try_into().unwrap_or(u32::MAX)
}

/// The signature file of a package, if there is one.
fn beside(path: &Path) -> Result<Option<Vec<u8>>, PackageError> {
    if path.exists() { read(path, SIGNATURE_FILE_BYTES_MAX).map(Some) } else { Ok(None) }
}

/// The whole file, and no more than one byte over `limit`, by which the reader sees that there is more.
pub(crate) fn read(path: &Path, limit: usize) -> Result<Vec<u8>, PackageError> {
    let mut bytes = Vec::new();
    let read =
        fs::File::open(path).and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes));
    read.map(|_| bytes).map_err(|error| unreadable(path, &error))
}

/// The whole file, in pieces.
fn pieces(mut from: fs::File, mut each: impl FnMut(&[u8])) -> io::Result<()> {
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

/// Puts a file in another's place whole: whoever reads meanwhile sees one or the other.
pub(crate) fn replace(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<fs::File>) -> io::Result<()>,
) -> Result<(), PackageError> {
    let failed = |error: io::Error| PackageError::Unwritable {
        path: path.to_owned(),
        why: error.to_string(),
    };
    // What a link points to is written, not the link.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = target.with_file_name(name);
    let written = fs::File::create(&new).and_then(|file| {
        let mut to = BufWriter::with_capacity(PIECE_BYTES, file);
        write(&mut to)?;
        to.flush()
    });
    if let Err(error) = written {
        // Half of a file is of no use to anybody.
        let _ = fs::remove_file(&new);
        return Err(failed(error));
    }
    if let Ok(old) = fs::metadata(&target) {
        fs::set_permissions(&new, old.permissions()).map_err(failed)?;
    }
    fs::rename(&new, &target).map_err(failed)
}

fn unreadable(path: &Path, error: &io::Error) -> PackageError {
    PackageError::Unreadable { path: path.to_owned(), why: error.to_string() }
}

fn wrong(path: &Path, error: &(impl Coded + fmt::Display)) -> PackageError {
    let mut report = Report::new(Group::Package, Name::from(path));
    report.findings.push(Finding::of(error));
    PackageError::Wrong(Box::new(report))
}

/// A line for each finding that fails the package, with the file that it is about.
struct Listed<'a>(&'a Report);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { findings, source, subject, fail_on, .. } = self.0;
        let failing = findings.iter().filter(|finding| finding.level >= *fail_on);
        for (n, Finding { rule, place, message, .. }) in failing.enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            match (place, source) {
                (Some(place), Some(source)) => {
                    write!(f, "{source}:{}:{}: {message} [{rule}]", place.line, place.column)?;
                }
                _ => write!(f, "{subject}: {message} [{rule}]")?,
            }
        }
        Ok(())
    }
}
