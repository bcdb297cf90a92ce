//! Compilers of the languages that agents are written in, where they are.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{Write as _, stderr},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::Program;

const BUILD_WITHIN: Duration = Duration::from_secs(900);
const FETCH_WITHIN: Duration = Duration::from_secs(300);

/// What agents in one language are built with.
#[derive(Clone, Debug)]
pub struct Toolchain {
    environment: Vec<(&'static str, OsString)>,
    /// In the agent's folder, what would be made there again for each.
    links: Vec<(&'static str, PathBuf)>,
}

impl Toolchain {
    /// Finds it for a language of `daee-deploy new`. Where it is not, this says so and gives nothing.
    ///
    /// # Panics
    /// In CI, if it is not there: what is left out there is not tested at all. If there is no such language.
    pub fn find(language: &str) -> Option<Self> {
        let found = match language {
            "rust" => rust(),
            "c" => clang(&[]).then(|| Self::new(Vec::new())),
            "assemblyscript" => assemblyscript(),
            "go" => go(),
            "javascript" => interpreter(language, "libquickjs-ng-sys@0.14.0", &[]),
            "python" => {
                let programs = ["make", "python3", "npm"];
                interpreter(language, "drone-micropython-raw@0.1.1", &programs)
            }
            _ => panic!("no agent is written in {language}"),
        };
        if found.is_none() {
            let why =
                format!("{language} is not built, `cargo xtask guests` installs what it needs");
            assert!(env::var_os("CI").is_none(), "{why}");
            // Past what the test runner keeps to itself.
            stderr().write_all(format!("skipped: {why}\n").as_bytes()).expect("it is open");
        }
        found
    }

    /// Runs `./build.sh` in an agent's folder and gives its `agent.wasm`.
    ///
    /// # Panics
    /// If it cannot be built.
    pub fn build(&self, folder: &Path) -> Vec<u8> {
        for (name, to) in &self.links {
            fs::create_dir_all(to).expect("tests may write to their own folder");
            if !folder.join(name).exists() {
                symlink(to, folder.join(name)).expect("the agent's folder is a test's own");
            }
        }
        let mut shell = Program::new("/bin/sh").args(["-c", "./build.sh"]).folder(folder);
        let manifest = fs::read_to_string(folder.join("agent.yaml")).unwrap_or_default();
        let resident = manifest.lines().any(|line| line.starts_with("run: resident"));
        for (name, value) in &self.environment {
            let mut value = value.clone();
            // Interpreters are compiled for one of both.
            if *name == BUILD && resident {
                value.push("-resident");
            }
            shell = shell.env(name, value);
        }
        let built = shell.run(BUILD_WITHIN);
        assert_eq!(built.code, Some(0), "{}{}", built.stdout, built.stderr);
        fs::read(folder.join("agent.wasm")).expect("it was just built")
    }

    fn new(environment: Vec<(&'static str, OsString)>) -> Self {
        Self { environment, links: Vec::new() }
    }
}

/// Where a build script puts what it compiles once.
const BUILD: &str = "BUILD";

/// With a standard library for agents: as `cargo xtask guests` made it, or rustup's.
fn rust() -> Option<Toolchain> {
    let links = vec![("target", target().join("tmp/new-rust"))];
    let guests = target().join("guests/rustc");
    if guests.is_file() {
        let environment = vec![
            ("RUSTC", guests.into()),
            ("PATH", path_with("/usr/bin".into())),
            // The tests' own compiler has libraries there.
            ("LD_LIBRARY_PATH", OsString::new()),
        ];
        return Some(Toolchain { environment, links });
    }
    let found = Program::new("rustc").args(["--print", "sysroot"]).run(FETCH_WITHIN);
    let library = Path::new(found.stdout.trim()).join("lib/rustlib/wasm32-wasip1");
    library.is_dir().then_some(Toolchain { environment: Vec::new(), links })
}

fn clang(programs: &[&str]) -> bool {
    let mut needed = ["clang-19", "wasm-ld-19"].iter().chain(programs);
    Path::new("/usr/include/wasm32-wasi").is_dir() && needed.all(|program| on_path(program))
}

fn assemblyscript() -> Option<Toolchain> {
    let modules = target().join("tools/assemblyscript/node_modules");
    let here = modules.is_dir() && on_path("npm");
    here.then(|| Toolchain { environment: Vec::new(), links: vec![("node_modules", modules)] })
}

fn go() -> Option<Toolchain> {
    let folder = target().join("tools/go");
    let environment = vec![
        ("PATH", path_with(folder.join("go/bin"))),
        ("GOCACHE", folder.join("cache").into()),
        ("GOTOOLCHAIN", "local".into()),
    ];
    folder.join("go/bin/go").is_file().then(|| Toolchain::new(environment))
}

/// What an interpreter needs to be compiled, once for all. Its source comes inside of a crate.
fn interpreter(language: &str, source: &str, programs: &[&str]) -> Option<Toolchain> {
    let made = target().join("tmp/interpreters").join(language);
    let fetched = || {
        let cargo = Program::new("cargo").args(["info", "--quiet", source]);
        cargo.run(FETCH_WITHIN).code == Some(0)
    };
    let here = clang(&[&["cargo"], programs].concat()) && (made.is_dir() || fetched());
    here.then(|| Toolchain::new(vec![(BUILD, made.into_os_string())]))
}

/// Where cargo builds to. Tests lie in `deps` of a profile in it.
fn target() -> PathBuf {
    let test = env::current_exe().expect("a test knows where it lies");
    test.ancestors().nth(3).expect("it lies in deps of a profile").to_owned()
}

fn on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn path_with(folder: PathBuf) -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    env::join_paths([folder].into_iter().chain(env::split_paths(&path)))
        .expect("they come from a path")
}
