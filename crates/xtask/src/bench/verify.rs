use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::{Report, disk, shortest};
use crate::failure::Failure;
use crate::run::Run;
use crate::tools;

/// Large enough that starting the process does not count.
const ARTIFACT_BYTES: u64 = 512 << 20;
const RUNS: u32 = 5;

/// How fast `daee-verify artifact` judges a large artifact, beside what openssl needs to hash it.
pub fn run(repo: &Path) -> Result<Report, Failure> {
    // Beside the other programs of the workspace, whose dependencies it shares.
    tools::cargo(repo)
        .args(["build", "--release", "--locked", "--quiet", "--bin", "daee-verify"])
        .done()?;
    let verify = tools::release(repo).join("daee-verify");
    let folder = tempfile::tempdir().map_err(disk)?;
    let artifact = folder.path().join("large.wasm");
    write_artifact(&artifact).map_err(disk)?;
    let digest = Run::new("openssl").args(["dgst", "-sha256", "-r"]).args([&artifact]).text()?;
    let hash = digest.split(' ').next().unwrap_or_default().to_owned();

    let ours = shortest(RUNS, || {
        let run = Run::new(&verify).args(["artifact"]).args([&artifact]).args(["--hash", &hash]);
        run.text().map(|_| ())
    })?;
    let peer = shortest(RUNS, || {
        Run::new("openssl").args(["dgst", "-sha256"]).args([&artifact]).text().map(|_| ())
    })?;

    let mut report = Report::new("verify");
    let speed = |seconds: f64| ARTIFACT_BYTES as f64 / seconds / 1e9;
    report.figure("daee-verify artifact", speed(ours.as_secs_f64()), "GB/s");
    report.figure("openssl dgst -sha256", speed(peer.as_secs_f64()), "GB/s");
    report.ratio("daee-verify over openssl", peer.as_secs_f64() / ours.as_secs_f64());
    Ok(report)
}

/// A module that any node would take (`memory` and `daee_turn` exported), made large by a section that
/// engines pass over.
fn write_artifact(path: &Path) -> std::io::Result<()> {
    #[rustfmt::skip]
    const MODULE: &[u8] = &[
        0x00, b'a', b's', b'm', 0x01, 0x00, 0x00, 0x00,
        0x01, 0x05, 0x01, 0x60, 0x00, 0x01, 0x7f, // type: () -> i32
        0x03, 0x02, 0x01, 0x00, // one function of it
        0x05, 0x03, 0x01, 0x00, 0x01, // one page of memory
        0x07, 0x16, 0x02, 0x06, b'm', b'e', b'm', b'o', b'r', b'y', 0x02, 0x00,
        0x09, b'd', b'a', b'e', b'e', b'_', b't', b'u', b'r', b'n', 0x00, 0x00,
        0x0a, 0x06, 0x01, 0x04, 0x00, 0x41, 0x00, 0x0b, // i32.const 0
    ];
    const NAME: &[u8] = &[0x04, b'f', b'i', b'l', b'l'];
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    file.write_all(MODULE)?;
    file.write_all(&[0x00])?;
    let mut rest = NAME.len() as u64 + ARTIFACT_BYTES;
    while rest >= 0x80 {
        file.write_all(&[(rest as u8 & 0x7f) | 0x80])?;
        rest >>= 7;
    }
    file.write_all(&[rest as u8])?;
    file.write_all(NAME)?;
    let block: Vec<u8> =
        (0..1_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for _ in 0..ARTIFACT_BYTES >> 20 {
        file.write_all(&block)?;
    }
    file.flush()
}
