use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use daee_artifact::{
    Artifact, ModuleFacts, ModuleProblem, RunStyle, Verified, check_module, files_of,
};
use daee_types::{ArtifactHash, ByteSize, Coded, Fault};

use crate::compile::{self, Cache, CompileError, CompileLimits};
use crate::jail;
use crate::mapped::{self, Mapped};
use crate::protocol::{FromCell, Link};
use crate::spawn::{self, Role, Start};
use crate::warm::{Empty, Warm};

/// How far guests are kept from the process that runs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// A jailed process for each agent. The program must call [`child_main`](crate::child_main) first.
    Process,
    /// A thread for each agent: WebAssembly's own walls and nothing else. A loop is stopped by fuel only.
    InProcess,
}

/// How a [`Runtime`] works.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// Where compiled modules are kept; nowhere if there is none.
    pub cache_dir: Option<PathBuf>,
    /// How large the cache may become. What was not used for longest goes first.
    pub cache_max: ByteSize,
    /// Authenticates the cache. Secret: who knows it and can write to the directory runs code as this node.
    pub cache_key: [u8; 32],
    /// How guests are kept apart.
    pub isolation: Isolation,
    /// What compiling may take. Not kept by [`Isolation::InProcess`].
    pub compile: CompileLimits,
    /// How many processes are kept jailed and empty, so that an agent starts in a fraction of the time. None with
    /// [`Isolation::InProcess`].
    pub warm_cells: usize,
    /// The program that is started for cells; this one if there is none. It must call
    /// [`child_main`](crate::child_main) first.
    pub executable: Option<PathBuf>,
}

impl RuntimeConfig {
    /// A process for each agent, and a cache.
    pub fn new(cache_dir: impl Into<PathBuf>, cache_key: [u8; 32]) -> Self {
        Self { cache_dir: Some(cache_dir.into()), cache_key, ..Self::in_process() }
            .isolated(Isolation::Process)
    }

    /// Everything in this process, and no cache.
    pub fn in_process() -> Self {
        Self {
            cache_dir: None,
            cache_max: ByteSize::gib(4),
            cache_key: [0; 32],
            isolation: Isolation::InProcess,
            compile: CompileLimits::default(),
            warm_cells: 2,
            executable: None,
        }
    }

    /// With another isolation.
    pub fn isolated(mut self, isolation: Isolation) -> Self {
        self.isolation = isolation;
        self
    }
}

/// Why there is no runtime. Always this node's own doing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// The cache cannot be used.
    #[error("the cache of compiled modules at {dir} cannot be used: {why}")]
    Cache {
        /// Where.
        dir: String,
        /// Why.
        why: String,
    },
    /// A process cannot be started, or is not one of ours.
    #[error(
        "cells cannot be started ({0}): the program must call daee_runtime::child_main() first in main"
    )]
    Cells(String),
}

impl Coded for RuntimeError {
    fn code(&self) -> &'static str {
        match self {
            Self::Cache { .. } => "DAEE-R001",
            Self::Cells(_) => "DAEE-R002",
        }
    }
    fn fault(&self) -> Fault {
        Fault::Node
    }
}

/// Why a module cannot run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    /// The module is not one that runs here.
    #[error("{}", list(.0))]
    Module(Vec<ModuleProblem>),
    /// It cannot be compiled, or not within the limits.
    #[error("the module cannot be compiled: {0}")]
    Compile(String),
    /// A reactor's memory and globals must say all of where it stands.
    #[error(
        "the module {0}, so its state cannot be kept between turns: build it as a resident instead"
    )]
    Unkeepable(String),
    /// This node could not try.
    #[error("the module could not be compiled here: {0}")]
    Node(String),
}

fn list(problems: &[ModuleProblem]) -> String {
    problems.iter().map(ModuleProblem::to_string).collect::<Vec<_>>().join("; ")
}

impl Coded for PrepareError {
    fn code(&self) -> &'static str {
        match self {
            Self::Module(problems) => problems.first().map_or("DAEE-R013", Coded::code),
            Self::Compile(_) => "DAEE-R010",
            Self::Unkeepable(_) => "DAEE-R011",
            Self::Node(_) => "DAEE-R012",
        }
    }
    fn fault(&self) -> Fault {
        match self {
            Self::Node(_) => Fault::Node,
            _ => Fault::Developer,
        }
    }
}

/// Prepares modules and starts agents. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Runtime(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: RuntimeConfig,
    cache: Option<Cache>,
    prepared: Mutex<InUse>,
    warm: Option<Warm>,
    cells: Option<Arc<Cells>>,
}

fn keepable(facts: &ModuleFacts, unkeepable: Option<String>) -> Result<(), PrepareError> {
    match unkeepable {
        Some(why) if facts.style == RunStyle::Reactor => Err(PrepareError::Unkeepable(why)),
        _ => Ok(()),
    }
}

/// What is prepared and in use, by module and what was wanted.
type InUse = HashMap<(ArtifactHash, Option<u8>), Weak<Prepared>>;

/// How cells are started here.
#[derive(Debug)]
pub(crate) struct Cells {
    pub(crate) executable: File,
    pub(crate) namespaces: bool,
    pub(crate) walls: u32,
}

impl Runtime {
    /// Opens the cache and finds out what this kernel can do.
    pub fn new(config: RuntimeConfig) -> Result<Self, RuntimeError> {
        let cache = match &config.cache_dir {
            None => None,
            Some(dir) => {
                Some(Cache::open(dir, config.cache_key, config.cache_max).map_err(|error| {
                    RuntimeError::Cache { dir: dir.display().to_string(), why: error.to_string() }
                })?)
            }
        };
        let cells = match config.isolation {
            Isolation::InProcess => None,
            Isolation::Process => Some(Arc::new(Cells::probe(config.executable.as_ref())?)),
        };
        let warm = cells.clone().map(|cells| Warm::new(cells, config.warm_cells));
        Ok(Self(Arc::new(Shared { config, cache, prepared: Mutex::default(), warm, cells })))
    }

    /// Checks and compiles a module, or takes it from the cache. `wanted` is the manifest's `run`;
    /// nothing there means a reactor. Blocks for as long as compiling takes.
    pub fn prepare(
        &self,
        artifact: &Artifact<Verified>,
        wanted: Option<RunStyle>,
    ) -> Result<Module, PrepareError> {
        let key = (*artifact.hash(), wanted.map(|style| style as u8));
        let prepared = || self.0.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(prepared) = prepared().get(&key).and_then(Weak::upgrade) {
            return Ok(Module(prepared));
        }
        let facts = check_module(artifact.bytes(), wanted).map_err(PrepareError::Module)?;
        let module = match self.kept(artifact, &facts)? {
            Some(module) => module,
            None => self.compiled(artifact, &facts)?,
        };
        let mut prepared = prepared();
        prepared.retain(|_, module| module.strong_count() > 0);
        prepared.insert(key, Arc::downgrade(&module.0));
        Ok(module)
    }

    /// A module out of the cache.
    fn kept(
        &self,
        artifact: &Artifact<Verified>,
        facts: &ModuleFacts,
    ) -> Result<Option<Module>, PrepareError> {
        let Some(cache) = &self.0.cache else { return Ok(None) };
        let Some(found) = cache.find(artifact.hash()) else { return Ok(None) };
        // A file that somebody made larger than code may be is not read to its end, and then not believed.
        let code = (&found.file).take(self.0.config.compile.code_max.0);
        let module = Module::new(artifact, facts, code);
        let module = module.map_err(|error| PrepareError::Node(error.to_string()))?;
        let mapped = Mapped::open(module.code());
        let mapped = mapped.map_err(|error| PrepareError::Node(error.to_string()))?;
        match cache.believe(&found, mapped.code()) {
            Some(unkeepable) => keepable(facts, unkeepable).map(|()| Some(module)),
            None => Ok(None),
        }
    }

    fn compiled(
        &self,
        artifact: &Artifact<Verified>,
        facts: &ModuleFacts,
    ) -> Result<Module, PrepareError> {
        let compiled = match &self.0.cells {
            Some(cells) => compile::bounded(cells, artifact.bytes(), &self.0.config.compile),
            None => compile::unbounded(artifact.bytes()),
        };
        let compiled = compiled.map_err(|error| match error {
            CompileError::Module(why) => PrepareError::Compile(why),
            CompileError::Node(why) => PrepareError::Node(why),
        })?;
        if let Some(cache) = &self.0.cache
            && let Err(error) = cache.put(artifact.hash(), &compiled)
        {
            tracing::warn!(%error, "a compiled module could not be kept");
        }
        keepable(facts, compiled.unkeepable)?;
        Module::new(artifact, facts, &compiled.code[..])
            .map_err(|error| PrepareError::Node(error.to_string()))
    }

    /// What stands between guests and this node, and what could.
    pub fn sandbox(&self) -> SandboxReport {
        SandboxReport::of(self.0.cells.as_ref().map(|cells| cells.walls))
    }

    pub(crate) fn cells(&self) -> Option<&Cells> {
        self.0.cells.as_deref()
    }

    pub(crate) fn warm_cell(&self) -> Option<Empty> {
        self.0.warm.as_ref()?.take()
    }
}

impl Cells {
    fn probe(executable: Option<&PathBuf>) -> Result<Self, RuntimeError> {
        let cells = |error: std::io::Error| RuntimeError::Cells(error.to_string());
        let own = PathBuf::from("/proc/self/exe");
        let executable = File::open(executable.unwrap_or(&own)).map_err(cells)?;
        let mut why = String::new();
        for namespaces in [true, false] {
            match probe(&executable, namespaces) {
                Ok(walls) if !namespaces || walls & jail::NAMESPACES != 0 => {
                    return Ok(Self { executable, namespaces, walls });
                }
                Ok(_) => {}
                Err(error) => why = error,
            }
        }
        Err(RuntimeError::Cells(why))
    }
}

impl Cells {
    /// Whether a cell's walls are all those that this kernel was found to give. The last goes up later.
    pub(crate) fn as_good(&self, walls: u32) -> bool {
        walls | jail::NO_NEW_CODE == self.walls | jail::NO_NEW_CODE
    }
}

/// Lets a child put up all walls, and hears which of them stand.
fn probe(executable: &File, namespaces: bool) -> Result<u32, String> {
    let text = |error: std::io::Error| error.to_string();
    let (here, there) = UnixStream::pair().map_err(text)?;
    let input = spawn::memory_file(c"daee-probe").map_err(text)?;
    let mut child = spawn::start(Start {
        executable: executable.try_clone().map_err(text)?,
        role: Role::Probe,
        link: there.into(),
        input: Some(input.into()),
        namespaces,
    })
    .map_err(text)?;
    let mut link = Link::new(here, ByteSize::kib(1));
    let heard = link.hear_cell(&mut Duration::from_secs(10));
    match heard {
        Ok(FromCell::Jailed(walls)) => Ok(walls),
        _ => Err(child.end()),
    }
}

/// A module ready to start. Cheap to clone; its code is shared by all cells that run it.
#[derive(Clone, Debug)]
pub struct Module(Arc<Prepared>);

#[derive(Debug)]
struct Prepared {
    hash: ArtifactHash,
    style: RunStyle,
    code: File,
    code_bytes: usize,
}

impl Module {
    fn new(
        artifact: &Artifact<Verified>,
        facts: &ModuleFacts,
        machine_code: impl std::io::Read,
    ) -> std::io::Result<Self> {
        let files = files_of(artifact.bytes());
        let code = mapped::sealed(machine_code, files, facts.door)?;
        let code_bytes = Mapped::open(&code)?.code().len();
        let (hash, style) = (*artifact.hash(), facts.style);
        Ok(Self(Arc::new(Prepared { hash, style, code, code_bytes })))
    }

    /// The artifact it was made from.
    pub fn artifact_hash(&self) -> &ArtifactHash {
        &self.0.hash
    }

    /// How it is entered.
    pub fn style(&self) -> RunStyle {
        self.0.style
    }

    /// Size of its machine code.
    pub fn code_size(&self) -> ByteSize {
        ByteSize(self.0.code_bytes as u64)
    }

    pub(crate) fn code(&self) -> &File {
        &self.0.code
    }
}

/// What stands between guests and this node.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SandboxReport {
    /// 0: the guest shares this process. 1: a process with no privileges, limits and a short list of system calls.
    /// 2: that, and a world of its own with nothing in it. 3: every wall.
    pub level: u8,
    /// Every wall, standing or not.
    pub walls: Vec<Wall>,
    /// What a cell may ask of the kernel while its guest runs; anything else is its end.
    pub system_calls: Vec<&'static str>,
    /// What it may ask before, when it holds no guest yet.
    pub system_calls_loading: Vec<&'static str>,
}

/// One wall of a cell.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Wall {
    /// Its name.
    pub name: &'static str,
    /// Whether it stands.
    pub stands: bool,
    /// How to get it where it does not.
    pub how: &'static str,
}

impl SandboxReport {
    /// The highest level there is.
    pub const LEVEL_MAX: u8 = 3;

    /// The walls that do not stand.
    pub fn missing(&self) -> impl Iterator<Item = &Wall> {
        self.walls.iter().filter(|wall| !wall.stands)
    }

    fn of(walls: Option<u32>) -> Self {
        const NAMES: [(u32, &str, &str); 8] = [
            (jail::NO_NEW_PRIVILEGES, "no_new_privs", "Linux 3.5 or newer"),
            (jail::LIMITS, "resource limits", "let the node lower its own limits"),
            (jail::SECCOMP, "seccomp", "a kernel with CONFIG_SECCOMP_FILTER, on x86-64 or arm64"),
            (
                jail::NAMESPACES,
                "namespaces",
                "allow user namespaces: sysctl user.max_user_namespaces and kernel.apparmor_restrict_unprivileged_userns",
            ),
            (jail::EMPTY_ROOT, "empty root", "allow mounts in user namespaces"),
            (jail::NO_CAPABILITIES, "no capabilities", "let the node drop its capabilities"),
            (jail::LANDLOCK, "landlock", "Linux 5.13 or newer with landlock among its LSMs"),
            (jail::NO_NEW_CODE, "no new code", "Linux 6.3 or newer (PR_SET_MDWE)"),
        ];
        let up = walls.unwrap_or(0);
        let has = |wanted: u32| up & wanted == wanted;
        let one = jail::NO_NEW_PRIVILEGES | jail::LIMITS | jail::SECCOMP;
        let two = one | jail::NAMESPACES | jail::EMPTY_ROOT | jail::NO_CAPABILITIES;
        let three = two | jail::LANDLOCK | jail::NO_NEW_CODE;
        let level = [one, two, three].into_iter().take_while(|level| has(*level)).count() as u8;
        let walls = NAMES.map(|(bit, name, how)| Wall { name, stands: has(bit), how }).to_vec();
        let names = |calls: Vec<&jail::Call>| calls.iter().map(|call| call.name).collect();
        let (system_calls, system_calls_loading) = (names(jail::running()), names(jail::loading()));
        Self { level, walls, system_calls, system_calls_loading }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_stands_on_all_below_it() {
        let check = |walls, level| assert_eq!(SandboxReport::of(walls).level, level);
        check(None, 0);
        check(Some(u32::MAX), 3);
        check(Some(!jail::LANDLOCK), 2);
        check(Some(!jail::NAMESPACES), 1);
        check(Some(!jail::SECCOMP), 0);
    }

    #[test]
    fn a_program_that_is_no_cell_is_named_with_its_fix() {
        let config = RuntimeConfig {
            executable: Some("/bin/true".into()),
            ..RuntimeConfig::in_process().isolated(Isolation::Process)
        };
        let error = Runtime::new(config).unwrap_err();
        assert_eq!(error.code(), "DAEE-R002");
        assert!(error.to_string().contains("child_main"), "{error}");
    }
}
