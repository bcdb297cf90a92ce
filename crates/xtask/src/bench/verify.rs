use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Report, disk};
use crate::failure::Failure;
use crate::run::Run;
use crate::tools;

/// Sizes of artifacts, how they are called, and how often each is judged: a short run is a noisy one.
const SIZES: &[(u64, &str, usize)] = &[
    (64 << 10, "64 KiB", 101),
    (1 << 20, "1 MiB", 101),
    (16 << 20, "16 MiB", 31),
    (256 << 20, "256 MiB", 9),
    (LARGEST, "1 GiB", 5),
];
const LARGEST: u64 = 1 << 30;
const STARTS: usize = 101;

/// How fast `daee-verify` judges artifacts and packages beside what openssl needs to hash the same file, what it
/// takes to start, and how much memory the largest of them takes.
pub fn run(repo: &Path) -> Result<Report, Failure> {
    tools::cargo(repo)
        .args(["build", "--release", "--locked", "--quiet", "--package", "daee-verify"])
        .args(["--bin", "daee-verify", "--example", "package"])
        .done()?;
    let bench = Bench {
        verify: tools::release(repo).join("daee-verify"),
        folder: tempfile::tempdir().map_err(disk)?,
    };
    let mut report = Report::new("verify");
    let start = bench.start(&mut report)?;
    for (bytes, name, runs) in SIZES {
        bench.artifact(&mut report, *bytes, name, *runs, &start)?;
    }
    bench.largest(repo, &mut report)?;
    Ok(report)
}

struct Bench {
    verify: PathBuf,
    folder: tempfile::TempDir,
}

/// What two programs took.
struct Pair {
    ours: Duration,
    peer: Duration,
}

impl Bench {
    /// What both take for the smallest of modules.
    fn start(&self, report: &mut Report) -> Result<Pair, Failure> {
        let artifact = self.folder.path().join("small.wasm");
        write_artifact(&artifact, 0).map_err(disk)?;
        let start = self.beside_openssl(&artifact, STARTS)?;
        let [version, their_version, nothing] = medians(
            STARTS,
            [
                &|| Run::new(&self.verify).args(["--version"]).text(),
                &|| Run::new("openssl").args(["version"]).text(),
                &|| Run::new("true").text(),
            ],
        )?;
        report.figure("start, daee-verify --version", millis(version), "ms");
        report.figure("start, openssl version", millis(their_version), "ms");
        report.figure("start, true", millis(nothing), "ms");
        report.figure("start, smallest artifact", millis(start.ours), "ms");
        report.figure("start, openssl of the same", millis(start.peer), "ms");
        Ok(start)
    }

    fn artifact(
        &self,
        report: &mut Report,
        bytes: u64,
        name: &str,
        runs: usize,
        start: &Pair,
    ) -> Result<(), Failure> {
        let artifact = self.folder.path().join("artifact.wasm");
        write_artifact(&artifact, bytes).map_err(disk)?;
        let took = self.beside_openssl(&artifact, runs)?;
        report.figure(format!("{name}, daee-verify"), millis(took.ours), "ms");
        report.figure(format!("{name}, openssl"), millis(took.peer), "ms");
        report.ratio(name, ratio(took.peer, took.ours));
        // Of a short file the start is nearly all, and what is left of it noise.
        if bytes >= 1 << 20 {
            let rest = |took: Duration, start: Duration| took.saturating_sub(start);
            let (peer, ours) = (rest(took.peer, start.peer), rest(took.ours, start.ours));
            report.ratio(format!("{name}, without the start"), ratio(peer, ours));
        }
        Ok(())
    }

    /// The largest artifact, which is the last that was written, in other ways.
    fn largest(&self, repo: &Path, report: &mut Report) -> Result<(), Failure> {
        let [artifact, package] =
            ["artifact.wasm", "package.car"].map(|name| self.folder.path().join(name));
        Run::new(tools::release(repo).join("examples/package"))
            .args([&artifact, &package])
            .done()?;
        let runs = SIZES.last().map_or(1, |(_, _, runs)| *runs);
        let piped = |command: &str| {
            let script = format!("cat \"$1\" | {command}");
            Run::new("sh").args(["-c", &script]).args([&self.verify, &artifact]).text()
        };
        let [of_package, peer_of_package, of_pipe, peer_of_pipe] = medians(
            runs,
            [
                &|| Run::new(&self.verify).args(["package"]).args([&package]).text(),
                &|| openssl(&package),
                &|| piped("\"$0\" artifact -"),
                &|| piped("openssl dgst -sha256"),
            ],
        )?;
        report.figure("1 GiB, daee-verify package", millis(of_package), "ms");
        report.figure("1 GiB, openssl of the package", millis(peer_of_package), "ms");
        report.figure("1 GiB from a pipe, daee-verify", millis(of_pipe), "ms");
        report.figure("1 GiB from a pipe, openssl", millis(peer_of_pipe), "ms");
        report.ratio("1 GiB, package", ratio(peer_of_package, of_package));
        report.ratio("1 GiB from a pipe", ratio(peer_of_pipe, of_pipe));
        for (subject, file) in [("artifact", &artifact), ("package", &package)] {
            let peak = Run::new(&self.verify).args([subject]).args([file]).peak()?;
            report.figure(format!("1 GiB, memory for the {subject}"), peak as f64 / MIB, "MiB");
        }
        Ok(())
    }

    /// Both in turn, so that what else the machine does is shared by both.
    fn beside_openssl(&self, artifact: &Path, runs: usize) -> Result<Pair, Failure> {
        let said = openssl(artifact)?;
        let hash = said.split(' ').next().unwrap_or_default();
        let verify =
            || Run::new(&self.verify).args(["artifact", "--hash", hash]).args([artifact]).text();
        let [ours, peer] = medians(runs, [&verify, &|| openssl(artifact)])?;
        Ok(Pair { ours, peer })
    }
}

const MIB: f64 = (1 << 20) as f64;

fn openssl(file: &Path) -> Result<String, Failure> {
    Run::new("openssl").args(["dgst", "-sha256", "-r"]).args([file]).text()
}

/// The median of each, all of them in turn.
#[expect(clippy::disallowed_methods, reason = "a bench is there to read the clock")]
fn medians<const N: usize>(
    runs: usize,
    works: [&dyn Fn() -> Result<String, Failure>; N],
) -> Result<[Duration; N], Failure> {
    let mut took = works.map(|_| Vec::with_capacity(runs));
    for _ in 0..runs {
        for (work, took) in works.iter().zip(&mut took) {
            let start = Instant::now();
            work()?;
            took.push(start.elapsed());
        }
    }
    Ok(took.map(|mut took| {
        took.sort_unstable();
        took[took.len() / 2]
    }))
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// How much faster ours is.
fn ratio(peer: Duration, ours: Duration) -> f64 {
    peer.as_secs_f64() / ours.as_secs_f64()
}

/// A module that any node would take (`memory` and `daee_turn` exported), made large by a section that
/// engines pass over.
fn write_artifact(path: &Path, bytes: u64) -> std::io::Result<()> {
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
    // The section's kind, its length in five bytes, and its name.
    let Some(fill) = bytes.checked_sub((MODULE.len() + 6 + NAME.len()) as u64) else {
        return file.flush();
    };
    let length = fill + NAME.len() as u64;
    let digit = |at: u32| (length >> (7 * at)) as u8 & 0x7f | if at < 4 { 0x80 } else { 0 };
    file.write_all(&[0x00, digit(0), digit(1), digit(2), digit(3), digit(4)])?;
    file.write_all(NAME)?;
    let block: Vec<u8> =
        (0..1_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut rest = fill;
    while rest > 0 {
        let piece = &block[..rest.min(1 << 20) as usize];
        file.write_all(piece)?;
        rest -= piece.len() as u64;
    }
    file.flush()
}
