//! The example agents, and those of tests: committed as bytes, for their compilers are not everybody's, and made again
//! where those are.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::run::Run;
use crate::tools;

/// One committed module.
struct Guest {
    folder: &'static str,
    language: Language,
    /// Its name without `.wasm`.
    name: &'static str,
    /// The manifest that names its hash, if it is a package of its own.
    manifest: Option<&'static str>,
}

#[derive(Clone, Copy)]
enum Language {
    /// This target with these features.
    Rust { target: Target, features: &'static str },
    /// This file.
    C(&'static str),
}

#[derive(Clone, Copy)]
enum Target {
    /// A reactor, under its package's name.
    Library(&'static str),
    /// A resident.
    Program(&'static str),
}

const GUESTS: &[Guest] = &[
    Guest {
        folder: "docs/examples/oracle",
        language: Language::Rust { target: Target::Library("oracle"), features: "" },
        name: "oracle",
        manifest: Some("agent.yaml"),
    },
    Guest {
        folder: "docs/examples/oracle",
        language: Language::Rust { target: Target::Library("oracle"), features: "version" },
        name: "oracle-v1.3.0",
        manifest: Some("agent-v1.3.0.yaml"),
    },
    Guest {
        folder: "docs/examples/oracle-c",
        language: Language::C("oracle.c"),
        name: "oracle-c",
        manifest: Some("agent.yaml"),
    },
    Guest {
        folder: "tests/e2e/guests/tour",
        language: Language::Rust { target: Target::Library("tour"), features: "" },
        name: "tour",
        manifest: None,
    },
    Guest {
        folder: "tests/e2e/guests/tour",
        language: Language::Rust { target: Target::Program("tour-resident"), features: "" },
        name: "tour-resident",
        manifest: None,
    },
];

/// Debian's compilers with WebAssembly among their targets. The first lets rustc make `wasm32-wasip1`, whose
/// standard library is built from its sources; the last is C's.
const PACKAGES: &[&str] = &[
    "rustc-web",
    "cargo-web",
    "rust-web-src",
    "rust-web-llvm",
    "lld-22",
    "wasi-libc",
    "clang-19",
    "lld-19",
    "libclang-rt-19-dev-wasm32",
];
const RUST_TARGET: &str = "wasm32-wasip1";
const LIBC: &str = "/usr/lib/wasm32-wasi";
const SUMS: &str = "SHA256SUMS";
/// Where `daee.h` is.
const C_BINDING: &str = "crates/daee-agent/bindings/c";
/// What the committed bytes were built with.
const BUILT_WITH: &str = "docs/examples/BUILT_WITH";

impl Guest {
    fn folder(&self, repo: &Path) -> PathBuf {
        repo.join(self.folder)
    }

    fn manifest(&self, repo: &Path) -> Option<PathBuf> {
        self.manifest.map(|manifest| self.folder(repo).join(manifest))
    }

    fn module(&self, repo: &Path) -> PathBuf {
        self.folder(repo).join(format!("{}.wasm", self.name))
    }
}

/// Rebuilds the guests and writes them with what names their hashes.
pub fn write(repo: &Path) -> Result<(), Failure> {
    languages(repo)?;
    test(repo)?;
    let toolchain = Toolchain::find(repo)?
        .map_err(|why| Failure::new(why, format!("apt-get install {}", PACKAGES.join(" "))))?;
    for guest in GUESTS {
        put(&guest.module(repo), &toolchain.build(guest)?)?;
    }
    put(&repo.join(BUILT_WITH), toolchain.versions.as_bytes())?;
    for folder in folders() {
        let sums = Run::new("sha256sum").args(modules(folder)).dir(repo.join(folder));
        put(&repo.join(folder).join(SUMS), sums.text()?.as_bytes())?;
    }
    for guest in GUESTS {
        let Some(manifest) = guest.manifest(repo) else { continue };
        let sums = text(&guest.folder(repo).join(SUMS))?;
        let module = format!("{}.wasm", guest.name);
        let hash = sum_of(&sums, &module).expect("it was written above");
        put(&manifest, with_hash(&text(&manifest)?, hash).as_bytes())?;
    }
    verify(repo)
}

/// Tests the guests, holds the committed bytes against the hashes that name them and, where the compilers are
/// that made them, makes them again and compares.
pub fn check(repo: &Path) -> Result<(), Failure> {
    languages(repo)?;
    test(repo)?;
    for folder in folders() {
        let check = Run::new("sha256sum").args(["--check", "--strict", "--quiet", SUMS]);
        check.dir(repo.join(folder)).done().map_err(|f| f.fixed_by("cargo xtask guests"))?;
    }
    verify(repo)?;
    let toolchain = match Toolchain::find(repo)? {
        Ok(toolchain) => toolchain,
        Err(why) => return left_out(&format!("guests not rebuilt: {why}")),
    };
    let committed = text(&repo.join(BUILT_WITH))?;
    if toolchain.versions != committed {
        println!(
            "guests not compared: they were built with\n{committed}and here is\n{}",
            toolchain.versions
        );
    }
    for guest in GUESTS {
        let same = toolchain.build(guest)? == read(&guest.module(repo))?;
        if !same && toolchain.versions == committed {
            let what = format!("{}.wasm is not what its sources make", guest.name);
            return Err(Failure::new(what, "`cargo xtask guests`, then commit the modules"));
        }
    }
    if toolchain.versions == committed {
        println!("{} guests rebuilt, byte for byte", GUESTS.len());
    }
    Ok(())
}

/// What else agents are written in. Where no compiler is, tests of its language leave out what needs it, and say so;
/// in CI they fail.
fn languages(repo: &Path) -> Result<(), Failure> {
    let installed = [("AssemblyScript", tools::assemblyscript(repo)), ("Go", tools::go(repo))];
    for (language, installed) in installed {
        if let Err(why) = installed {
            left_out(&format!("no agent in {language} is built here: {why}"))?;
        }
    }
    Ok(())
}

/// Says what is not tested here. In CI nothing may be.
fn left_out(what: &str) -> Result<(), Failure> {
    println!("{what}");
    match std::env::var_os("CI") {
        Some(_) => Err(Failure::new(what, format!("apt-get install {}", PACKAGES.join(" ")))),
        None => Ok(()),
    }
}

/// The agents' own tests, on the host.
fn test(repo: &Path) -> Result<(), Failure> {
    let all = GUESTS.iter().filter_map(|guest| match guest.language {
        Language::Rust { features, .. } => Some((guest.folder, features)),
        Language::C(_) => None,
    });
    // A folder with two targets is tested once.
    for (folder, features) in all.collect::<BTreeSet<_>>() {
        tools::cargo(repo)
            .args(["test", "--quiet", "--locked", "--features", features, "--manifest-path"])
            .args([repo.join(folder).join("Cargo.toml")])
            .env("CARGO_TARGET_DIR", target(repo).join("host"))
            .text()?;
    }
    Ok(())
}

/// The verdict of a node: the manifest, the module, and that the one names the other.
fn verify(repo: &Path) -> Result<(), Failure> {
    for guest in GUESTS {
        let Some(manifest) = guest.manifest(repo) else { continue };
        let verdict = |args: &[&str], file: &Path| {
            let run = ["run", "--quiet", "--locked", "--bin", "daee-verify", "--"];
            tools::cargo(repo).args(run).args(args).args([file])
        };
        verdict(&["manifest"], &manifest).text()?;
        let artifact = verdict(&["artifact", "--manifest"], &manifest);
        artifact.args([guest.module(repo)]).text()?;
    }
    Ok(())
}

/// The compilers, ready.
struct Toolchain {
    repo: PathBuf,
    /// What their bytes depend on.
    versions: String,
    rustc: PathBuf,
}

impl Toolchain {
    /// Finds the compilers, or installs them, and builds the standard library of guests. The inner error says why
    /// there are none here, which is nobody's fault.
    fn find(repo: &Path) -> Result<Result<Self, String>, Failure> {
        if let Err(why) = tools::debian(PACKAGES) {
            return Ok(Err(why.to_string()));
        }
        let packages = Run::new("dpkg-query").args(["--show"]).args(PACKAGES).text()?;
        let versions = packages.replace('\t', " ");
        let sysroot = target(repo).join("sysroot");
        let rustc = target(repo).join("rustc");
        if fs::read_to_string(sysroot.join("VERSIONS")).ok().as_deref() != Some(&versions) {
            build_sysroot(&sysroot)?;
            put(&sysroot.join("VERSIONS"), versions.as_bytes())?;
        }
        // Cargo would not build again for another script that stands in for rustc.
        let _ = fs::remove_dir_all(target(repo).join("wasm"));
        put(&rustc, compiler(&sysroot).as_bytes())?;
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&rustc, executable).map_err(|error| on_disk(&rustc, &error))?;
        Ok(Ok(Self { repo: repo.to_owned(), versions, rustc }))
    }

    fn build(&self, guest: &Guest) -> Result<Vec<u8>, Failure> {
        let built = match guest.language {
            Language::Rust { target, features } => self.build_rust(guest, target, features)?,
            Language::C(source) => self.build_c(guest, source)?,
        };
        read(&built)
    }

    fn build_rust(&self, guest: &Guest, made: Target, features: &str) -> Result<PathBuf, Failure> {
        let out = target(&self.repo).join("wasm");
        let build = debian_cargo()
            .args(["build", "--quiet", "--release", "--locked", "--target", RUST_TARGET])
            .args(["--features", features])
            .env("RUSTC", &self.rustc)
            .env("CARGO_TARGET_DIR", &out)
            .dir(guest.folder(&self.repo));
        let (build, name) = match made {
            Target::Library(name) => (build.args(["--lib"]), name),
            Target::Program(name) => (build.args(["--bin", name]), name),
        };
        build.done()?;
        Ok(out.join(RUST_TARGET).join("release").join(name).with_extension("wasm"))
    }

    /// In two steps: one that links what it optimised also calls wasm-opt where that is installed, which makes
    /// other bytes.
    fn build_c(&self, guest: &Guest, source: &str) -> Result<PathBuf, Failure> {
        let made = |ending: &str| target(&self.repo).join(format!("{}.{ending}", guest.name));
        let (object, module) = (made("o"), made("wasm"));
        let clang = || {
            let clang = Run::new("clang-19").args(["--target=wasm32-wasi", "-flto"]);
            clang.dir(guest.folder(&self.repo))
        };
        clang()
            .args(["-std=c17", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function", "-Oz", "-I"])
            .args([self.repo.join(C_BINDING)])
            .args(["-c", source, "-o"])
            .args([&object])
            .done()?;
        clang().args(["-Wl,--strip-all"]).args([&object]).args(["-o"]).args([&module]).done()?;
        Ok(module)
    }
}

/// Debian's cargo, without what the one that runs this left in the environment.
fn debian_cargo() -> Run {
    Run::new("/usr/bin/cargo").without(&[
        "CARGO",
        "CARGO_BUILD_TARGET",
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTFLAGS",
        "RUSTUP_TOOLCHAIN",
    ])
}

/// A rustc whose output depends on sources alone. Cargo tells crates apart by a hash over where they lie, and
/// symbols are sorted by it; panics name their files.
fn compiler(sysroot: &Path) -> String {
    format!(
        r#"#!/bin/sh
first=yes
for arg do
    [ $first ] && set -- && first=
    case $arg in metadata=*) arg=metadata=$CARGO_PKG_NAME-$CARGO_PKG_VERSION ;; esac
    set -- "$@" "$arg"
done
exec /usr/bin/rustc --sysroot '{}' "$@" \
    ${{CARGO_MANIFEST_DIR:+"--remap-path-prefix=$CARGO_MANIFEST_DIR=/$CARGO_PKG_NAME-$CARGO_PKG_VERSION"}}
"#,
        sysroot.display()
    )
}

/// Builds the standard library for guests from Debian's sources, and lays it out as rustc looks for it: beside the
/// host's own, which build scripts and macros need.
fn build_sysroot(sysroot: &Path) -> Result<(), Failure> {
    println!("building the standard library for {RUST_TARGET}");
    let disk = |error: std::io::Error| on_disk(sysroot, &error);
    let scratch = tempfile::tempdir().map_err(disk)?;
    let manifest = "[package]\nname = \"empty\"\nedition = \"2024\"\n\
        [profile.release]\nopt-level = \"s\"\ncodegen-units = 4\n";
    fs::create_dir(scratch.path().join("src")).map_err(disk)?;
    put(&scratch.path().join("Cargo.toml"), manifest.as_bytes())?;
    put(&scratch.path().join("src/lib.rs"), b"")?;
    debian_cargo()
        .args(["build", "--quiet", "--release", "--target", RUST_TARGET])
        .args(["-Zbuild-std=std,panic_abort"])
        .env("RUSTC", "/usr/bin/rustc")
        // What Debian's own packages are built with: `-Z` belongs to a compiler of today's channel.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Cembed-bitcode=yes")
        .env("CARGO_TARGET_DIR", scratch.path().join("target"))
        .dir(scratch.path())
        .done()?;

    let _ = fs::remove_dir_all(sysroot);
    let library = sysroot.join("lib/rustlib").join(RUST_TARGET).join("lib");
    let linked = library.join("self-contained");
    fs::create_dir_all(&linked).map_err(disk)?;
    let built = scratch.path().join("target").join(RUST_TARGET).join("release/deps");
    for entry in fs::read_dir(&built).map_err(disk)? {
        let file = entry.map_err(disk)?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".rlib") && !name.starts_with("libempty") {
            fs::copy(&file, library.join(name)).map_err(disk)?;
        }
    }
    for name in ["crt1-command.o", "crt1-reactor.o", "libc.a"] {
        fs::copy(Path::new(LIBC).join(name), linked.join(name)).map_err(disk)?;
    }
    let printed = Run::new("/usr/bin/rustc").args(["--print", "sysroot"]).text()?;
    let host = Run::new("/usr/bin/rustc").args(["--print", "host-tuple"]).text()?;
    let host = Path::new("lib/rustlib").join(host.trim());
    symlink(Path::new(printed.trim()).join(&host), sysroot.join(&host)).map_err(disk)
}

fn folders() -> BTreeSet<&'static str> {
    GUESTS.iter().map(|guest| guest.folder).collect()
}

fn modules(folder: &str) -> impl Iterator<Item = String> {
    let inside = GUESTS.iter().filter(move |guest| guest.folder == folder);
    inside.map(|guest| format!("{}.wasm", guest.name))
}

/// The hash of a file in the output of `sha256sum`.
fn sum_of<'a>(sums: &'a str, file: &str) -> Option<&'a str> {
    let lines = sums.lines().filter_map(|line| line.split_once("  "));
    lines.into_iter().find(|(_, name)| *name == file).map(|(hash, _)| hash)
}

/// A manifest with another `artifact_hash`, and everything else as its author wrote it.
fn with_hash(manifest: &str, hash: &str) -> String {
    let line = |line: &str| match line.strip_prefix("artifact_hash:") {
        Some(_) => format!("artifact_hash: \"{hash}\"\n"),
        None => format!("{line}\n"),
    };
    manifest.lines().map(line).collect()
}

fn target(repo: &Path) -> PathBuf {
    tools::target(repo).join("guests")
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(file).map_err(|error| on_disk(file, &error))
}

fn text(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file).map_err(|error| on_disk(file, &error))
}

fn put(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    fs::write(file, bytes).map_err(|error| on_disk(file, &error))
}

fn on_disk(file: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("{}: {error}", file.display()), "`git status` shows what is not as it was")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_module_is_found_by_its_whole_name() {
        let sums = "aa  oracle-c.wasm\nbb  oracle.wasm\n";
        assert_eq!(sum_of(sums, "oracle.wasm"), Some("bb"));
        assert_eq!(sum_of(sums, "oracle"), None);
    }

    #[test]
    fn a_new_hash_leaves_the_rest_of_a_manifest_alone() {
        let manifest = "agent_id: \"a.b@v1.0.0\" # kept\nartifact_hash: \"old\"\nrun: resident\n";
        let expected = "agent_id: \"a.b@v1.0.0\" # kept\nartifact_hash: \"new\"\nrun: resident\n";
        assert_eq!(with_hash(manifest, "new"), expected);
    }

    #[test]
    fn no_two_guests_share_a_module_or_a_manifest() {
        let modules: BTreeSet<_> = GUESTS.iter().map(|guest| (guest.folder, guest.name)).collect();
        assert_eq!(modules.len(), GUESTS.len());
        let manifests = GUESTS.iter().filter_map(|guest| Some((guest.folder, guest.manifest?)));
        let count = manifests.clone().count();
        assert_eq!(manifests.collect::<BTreeSet<_>>().len(), count);
    }
}
