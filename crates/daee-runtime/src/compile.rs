//! From a verified module to machine code: in a bounded process, once, kept in a cache that
//! only this node can write.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
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
/// is for and what it holds: a file that this node's key did not make is no file.
#[derive(Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
    key: [u8; 32],
}

const MAGIC: &[u8; 8] = b"daeecode";

impl Cache {
    pub(crate) fn open(dir: &Path, key: [u8; 32]) -> std::io::Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self { dir: dir.to_owned(), key })
    }

    /// What was compiled from this module by this engine for this processor.
    pub(crate) fn get(&self, module: &ArtifactHash) -> Option<Compiled> {
        let about = about(module);
        let bytes = fs::read(self.path(&about)).ok()?;
        let (magic, rest) = bytes.split_first_chunk::<8>()?;
        let (mac, body) = rest.split_first_chunk::<32>()?;
        if magic != MAGIC || self.mac(&about, body) != *mac {
            return None;
        }
        let mut from = Reader::new(body);
        let compiled = read_compiled(&mut from).ok()?;
        from.finish().ok()?;
        Some(compiled)
    }

    /// Keeps it; a cache that cannot be written costs time and nothing else.
    pub(crate) fn put(&self, module: &ArtifactHash, compiled: &Compiled) -> std::io::Result<()> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let about = about(module);
        let mut out = Writer::new();
        write_compiled(compiled, &mut out);
        let body = out.finish();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = self.path(&about);
        let beside = path.with_extension(format!("{}-{number}.new", std::process::id()));
        let mut file = File::create(&beside)?;
        let written = file
            .write_all(MAGIC)
            .and_then(|()| file.write_all(self.mac(&about, &body).as_bytes()))
            .and_then(|()| file.write_all(&body))
            .and_then(|()| fs::rename(&beside, &path));
        if written.is_err() {
            // The first failure is the one to tell.
            let _ = fs::remove_file(&beside);
        }
        written
    }

    fn path(&self, about: &[u8]) -> PathBuf {
        self.dir.join(format!("{}.code", blake3::keyed_hash(&self.key, about).to_hex()))
    }

    fn mac(&self, about: &[u8], body: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(MAGIC).update(&(about.len() as u64).to_le_bytes()).update(about);
        hasher.update(body).finalize()
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

    #[test]
    fn what_another_key_or_hand_wrote_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path(), [1; 32]).unwrap();
        let module = ArtifactHash::of(b"module");
        assert!(cache.get(&module).is_none());
        cache.put(&module, &compiled()).unwrap();
        assert_eq!(cache.get(&module).unwrap().code, b"code");
        assert!(cache.get(&ArtifactHash::of(b"other")).is_none());

        let file = cache.path(&about(&module));
        let mut bytes = fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&file, &bytes).unwrap();
        assert!(cache.get(&module).is_none(), "changed on disk");

        let theirs = Cache::open(dir.path(), [2; 32]).unwrap();
        theirs.put(&module, &compiled()).unwrap();
        let other = ArtifactHash::of(b"other");
        fs::rename(theirs.path(&about(&module)), cache.path(&about(&module))).unwrap();
        assert!(cache.get(&module).is_none(), "another key");
        cache.put(&module, &compiled()).unwrap();
        fs::rename(cache.path(&about(&module)), cache.path(&about(&other))).unwrap();
        assert!(cache.get(&other).is_none(), "another module's");
    }
}
