//! From a verified module to machine code: in a bounded process, once, kept in a cache that
//! only this node can write.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use daee_types::{
    ArtifactHash, ByteSize,
    wire::{Reader, WireError, Writer},
};

use crate::RUNTIME_VERSION;
use crate::engine::{Compiled, Cranelift, ENGINE, Engine};
use crate::jail;
use crate::runtime::Cells;
use crate::spawn::{self, Role, Start};

/// What compiling one module may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    /// Milliseconds of wall time.
    pub wall_millis: u64,
    /// Seconds of processor time.
    pub cpu_seconds: u64,
    /// Memory of the compiling process.
    pub memory_max: ByteSize,
    /// Size of the machine code.
    pub code_max: ByteSize,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self {
            wall_millis: 120_000,
            cpu_seconds: 60,
            memory_max: ByteSize::gib(1),
            code_max: ByteSize::mib(512),
        }
    }
}

/// Why there is no machine code.
#[derive(Debug)]
pub(crate) enum CompileError {
    /// The module cannot be compiled, or not within the limits.
    Module(String),
    /// The node could not try.
    Node(String),
}

/// What a compiling process answers that does not begin, for its walls are not those that were asked for.
pub(crate) const FEWER_WALLS: &[u8] = &[2];

/// Compiles in a process of its own.
pub(crate) fn bounded(
    cells: &Cells,
    module: &[u8],
    limits: &CompileLimits,
) -> Result<Compiled, CompileError> {
    let node = |error: std::io::Error| CompileError::Node(error.to_string());
    let mut input = spawn::memory_file(c"daee-module").map_err(node)?;
    input.write_all(module).map_err(node)?;
    spawn::seal(&input).map_err(node)?;
    let (mut here, there) = UnixStream::pair().map_err(node)?;
    let mut child = spawn::start(Start {
        executable: cells.executable.try_clone().map_err(node)?,
        role: Role::Compile,
        link: there.into(),
        input: Some(input.into()),
        namespaces: cells.namespaces,
    })
    .map_err(node)?;
    let walls = u64::from(cells.walls & !jail::NO_NEW_CODE);
    let job = [limits.memory_max.0, limits.cpu_seconds, walls].map(u64::to_le_bytes).concat();
    here.write_all(&job).map_err(node)?;
    let answer = read_within(&mut here, limits);
    let how = child.end();
    match answer {
        Ok(answer) if answer == FEWER_WALLS => {
            Err(CompileError::Node("fewer walls stand than when the node started".into()))
        }
        Ok(answer) if !answer.is_empty() => match read_answer(&answer) {
            Ok(Ok(compiled)) => Ok(compiled),
            Ok(Err(why)) => Err(CompileError::Module(why)),
            Err(error) => Err(CompileError::Node(format!("the compiler said {error}"))),
        },
        // The kernel holds to the limit by looking now and then, so it is not met to the millisecond.
        Ok(_) if child.used.as_millis() >= u128::from(limits.cpu_seconds) * 750 => {
            let most = limits.cpu_seconds;
            Err(CompileError::Module(format!("compiling took more than {most} s of a processor")))
        }
        Ok(_) if how == spawn::NO_MEMORY => {
            let most = limits.memory_max;
            Err(CompileError::Module(format!("compiling took more than {most} of memory: {how}")))
        }
        // Either it was taken over, or this machine's libraries make calls that nobody has seen: no honest module's doing.
        Ok(_) if how.starts_with(spawn::FORBIDDEN) => Err(CompileError::Node(how)),
        // A compiler that dies otherwise does so of its limits, and those are the module's to keep.
        Ok(_) => Err(CompileError::Module(format!("the compiler did not finish: {how}"))),
        Err(why) => Err(CompileError::Module(why)),
    }
}

/// Compiles right here, for whoever embeds the runtime and trusts what it runs.
pub(crate) fn unbounded(module: &[u8]) -> Result<Compiled, CompileError> {
    Cranelift.compile(module).map_err(CompileError::Module)
}

/// What a compiling process answers.
pub(crate) fn answer(module: &[u8]) -> Vec<u8> {
    let mut out = Writer::new();
    match Cranelift.compile(module) {
        Ok(compiled) => {
            write_compiled(&compiled, out.byte(1));
        }
        Err(why) => {
            out.byte(0).bytes(why.as_bytes());
        }
    }
    out.finish()
}

fn read_answer(bytes: &[u8]) -> Result<Result<Compiled, String>, WireError> {
    let mut from = Reader::new(bytes);
    let answer = match from.byte()? {
        0 => Err(from.text()?.chars().take(500).collect()),
        1 => Ok(read_compiled(&mut from)?),
        _ => return Err(from.wrong("neither code nor a reason")),
    };
    from.finish()?;
    Ok(answer)
}

fn write_compiled(compiled: &Compiled, out: &mut Writer) {
    match &compiled.unkeepable {
        Some(why) => out.byte(1).bytes(why.as_bytes()),
        None => out.byte(0),
    };
    out.bytes(&compiled.code);
}

fn read_compiled(from: &mut Reader<'_>) -> Result<Compiled, WireError> {
    let unkeepable = match from.byte()? {
        0 => None,
        1 => Some(from.text()?.to_owned()),
        _ => return Err(from.wrong("a flag is neither 0 nor 1")),
    };
    Ok(Compiled { unkeepable, code: from.bytes()?.to_vec() })
}

#[expect(clippy::disallowed_methods, reason = "a wall limit is about the wall clock")]
fn read_within(from: &mut UnixStream, limits: &CompileLimits) -> Result<Vec<u8>, String> {
    let end = std::time::Instant::now() + Duration::from_millis(limits.wall_millis);
    let mut answer = Vec::new();
    let mut piece = vec![0; 256 << 10];
    loop {
        let left = end.saturating_duration_since(std::time::Instant::now());
        if left.is_zero() {
            return Err(format!("compiling took more than {} ms", limits.wall_millis));
        }
        from.set_read_timeout(Some(left)).map_err(|error| error.to_string())?;
        match from.read(&mut piece) {
            Ok(0) => return Ok(answer),
            Ok(read) => answer.extend(&piece[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(answer),
            Err(_) => {} // late: the head of the loop says so
        }
        if answer.len() as u64 > limits.code_max.0 {
            return Err(format!("compiles to more than {}", limits.code_max));
        }
    }
}

/// Machine code on disk. What is read back is run as it is, so each file carries a keyed hash over what it
/// is for and what it holds: a file that this node's key did not make is no file. The hash is taken of the copy
/// that is run, after it was sealed, so that nobody who can write to the directory changes what was looked at.
///
/// Several processes may use one directory: files come whole by renaming, and one that goes while it is read is read
/// to its end.
#[derive(Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
    key: [u8; 32],
    max: ByteSize,
}

const MAGIC: &[u8; 8] = b"daeecod2";
/// Longest words for why a module cannot be kept, in bytes.
const WHY_BYTES_MAX: u32 = 1024;
/// How long a file may be on its way before it is taken for one that its writer left behind.
const WRITTEN_WITHIN: Duration = Duration::from_secs(60 * 60);

/// What is kept of a module, not believed yet.
#[derive(Debug)]
pub(crate) struct Found {
    /// At its machine code, which goes on to the end.
    pub(crate) file: File,
    mac: [u8; 32],
    about: Vec<u8>,
    unkeepable: Vec<u8>,
}

impl Cache {
    pub(crate) fn open(dir: &Path, key: [u8; 32], max: ByteSize) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self { dir: dir.to_owned(), key, max })
    }

    /// What was compiled from this module by this engine for this processor.
    #[expect(clippy::disallowed_methods, reason = "what was used last is a matter of the clock")]
    pub(crate) fn find(&self, module: &ArtifactHash) -> Option<Found> {
        let about = about(module);
        let mut file = File::options().read(true).append(true).open(self.path(&about)).ok()?;
        let mut head = [0; 8 + 32 + 4];
        file.read_exact(&mut head).ok()?;
        let (magic, rest) = head.split_first_chunk::<8>()?;
        let (mac, len) = rest.split_first_chunk::<32>()?;
        let len = u32::from_le_bytes(len.try_into().ok()?);
        if magic != MAGIC || len > WHY_BYTES_MAX {
            return None;
        }
        let mut unkeepable = vec![0; len as usize];
        file.read_exact(&mut unkeepable).ok()?;
        // If it cannot be noted it goes a little early.
        let _ = file.set_modified(std::time::SystemTime::now());
        Some(Found { file, mac: *mac, about, unkeepable })
    }

    /// Whether this is the code that was found. If it is: why the module cannot be kept, if it cannot.
    pub(crate) fn believe(&self, found: &Found, code: &[u8]) -> Option<Option<String>> {
        if self.mac(&found.about, &found.unkeepable, code) != found.mac {
            return None;
        }
        let why = String::from_utf8(found.unkeepable.clone()).ok()?;
        Some((!why.is_empty()).then_some(why))
    }

    /// Keeps it; a cache that cannot be written costs time and nothing else.
    pub(crate) fn put(&self, module: &ArtifactHash, compiled: &Compiled) -> io::Result<()> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let about = about(module);
        let why = compiled.unkeepable.as_deref().unwrap_or_default().as_bytes();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = self.path(&about);
        let beside = path.with_extension(format!("{}-{number}.new", std::process::id()));
        let mut file = File::create(&beside)?;
        let written = file
            .write_all(MAGIC)
            .and_then(|()| file.write_all(self.mac(&about, why, &compiled.code).as_bytes()))
            .and_then(|()| file.write_all(&(why.len() as u32).to_le_bytes()))
            .and_then(|()| file.write_all(why))
            .and_then(|()| file.write_all(&compiled.code))
            .and_then(|()| fs::rename(&beside, &path));
        if written.is_err() {
            // The first failure is the one to tell.
            let _ = fs::remove_file(&beside);
        }
        written.and_then(|()| self.make_room(&path))
    }

    /// Removes what was not used for longest until the rest fits, but never what was just written.
    #[expect(clippy::disallowed_methods, reason = "what was used last is a matter of the clock")]
    fn make_room(&self, new: &Path) -> io::Result<()> {
        let now = std::time::SystemTime::now();
        let (mut files, mut bytes) = (Vec::new(), 0);
        for file in fs::read_dir(&self.dir)? {
            let path = file?.path();
            // Another process may have been quicker.
            let Ok(about) = fs::metadata(&path) else { continue };
            let used = about.modified()?;
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("code") => {
                    bytes += about.len();
                    files.push((used, about.len(), path));
                }
                Some("new") if now.duration_since(used).is_ok_and(|age| age > WRITTEN_WITHIN) => {
                    let _ = fs::remove_file(&path);
                }
                _ => {}
            }
        }
        files.sort();
        for (_, size, path) in files.into_iter().filter(|(_, _, path)| path != new) {
            if bytes <= self.max.0 {
                break;
            }
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => bytes -= size,
            }
        }
        Ok(())
    }

    fn path(&self, about: &[u8]) -> PathBuf {
        self.dir.join(format!("{}.code", blake3::keyed_hash(&self.key, about).to_hex()))
    }

    fn mac(&self, about: &[u8], unkeepable: &[u8], code: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(MAGIC);
        for part in [about, unkeepable] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        hasher.update(code).finalize()
    }
}

/// Everything that decides which code a module becomes.
fn about(module: &ArtifactHash) -> Vec<u8> {
    let mut out = Writer::new();
    out.word(module.as_bytes()).u32(RUNTIME_VERSION).bytes(ENGINE.as_bytes());
    out.bytes(env!("CARGO_PKG_VERSION").as_bytes());
    out.bytes(std::env::consts::ARCH.as_bytes()).bytes(crate::engine::cpu().as_bytes());
    out.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled() -> Compiled {
        Compiled { code: b"code".to_vec(), unkeepable: Some("why".into()) }
    }

    const ROOM: ByteSize = ByteSize::mib(1);

    /// What the cache gives out and believes.
    fn get(cache: &Cache, module: &ArtifactHash) -> Option<(Vec<u8>, Option<String>)> {
        let mut found = cache.find(module)?;
        let mut code = Vec::new();
        found.file.read_to_end(&mut code).unwrap();
        let unkeepable = cache.believe(&found, &code)?;
        Some((code, unkeepable))
    }

    #[test]
    fn what_another_key_or_hand_wrote_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path(), [1; 32], ROOM).unwrap();
        let module = ArtifactHash::of(b"module");
        assert!(get(&cache, &module).is_none());
        cache.put(&module, &compiled()).unwrap();
        assert_eq!(get(&cache, &module), Some((b"code".to_vec(), Some("why".into()))));
        assert!(get(&cache, &ArtifactHash::of(b"other")).is_none());

        let file = cache.path(&about(&module));
        let good = fs::read(&file).unwrap();
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            fs::write(&file, &bytes).unwrap();
            assert_eq!(get(&cache, &module), None, "changed on disk at {at}");
            fs::write(&file, &good[..at]).unwrap();
            assert_eq!(get(&cache, &module), None, "cut at {at}");
        }
        fs::write(&file, [&good[..], b"x"].concat()).unwrap();
        assert_eq!(get(&cache, &module), None, "longer than it was");

        let theirs = Cache::open(dir.path(), [2; 32], ROOM).unwrap();
        theirs.put(&module, &compiled()).unwrap();
        let other = ArtifactHash::of(b"other");
        fs::rename(theirs.path(&about(&module)), cache.path(&about(&module))).unwrap();
        assert!(get(&cache, &module).is_none(), "another key");
        cache.put(&module, &compiled()).unwrap();
        fs::rename(cache.path(&about(&module)), cache.path(&about(&other))).unwrap();
        assert!(get(&cache, &other).is_none(), "another module's");
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path(), [1; 32], ByteSize::kib(3)).unwrap();
        let large = Compiled { code: vec![1; 900], unkeepable: None };
        let [a, b, c, d] = [b"a", b"b", b"c", b"d"].map(|name| ArtifactHash::of(name));
        // Times of files are coarse, so each has its own.
        let age = |module: &ArtifactHash, seconds: u64| {
            let file = File::options().append(true).open(cache.path(&about(module))).unwrap();
            let used = file.metadata().unwrap().modified().unwrap();
            file.set_modified(used - Duration::from_secs(seconds)).unwrap();
        };
        for (module, seconds) in [(&a, 300), (&b, 200), (&c, 100)] {
            cache.put(module, &large).unwrap();
            age(module, seconds);
        }
        assert!(get(&cache, &a).is_some(), "used now");
        let left = dir.path().join("left-behind.1-0.new");
        fs::write(&left, b"x").unwrap();
        let old = fs::metadata(&left).unwrap().modified().unwrap() - 2 * WRITTEN_WITHIN;
        File::options().append(true).open(&left).unwrap().set_modified(old).unwrap();

        cache.put(&d, &large).unwrap();
        let there = [a, b, c, d].map(|module| get(&cache, &module).is_some());
        assert_eq!(there, [true, false, true, true]);
        assert!(!left.exists());
        cache.put(&b, &Compiled { code: vec![1; 5000], unkeepable: None }).unwrap();
        let there = [a, b, c, d].map(|module| get(&cache, &module).is_some());
        assert_eq!(there, [false, true, false, false], "what is new stays, however large");
    }
}
