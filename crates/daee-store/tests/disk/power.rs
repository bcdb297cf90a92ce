//! The power goes: nothing that was not synced is there afterwards. A file system of its own on a loop device
//! is shut down without its journal being written, as the kernel does for this purpose.

use std::{
    fs::{self, File},
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    process::{Worker, job, run, with_own_mounts},
    work,
};

const ROUNDS: u32 = 8;
/// A machine that is busy with something else may write nothing in many of them.
const ROUNDS_MAX: u32 = 80;

const THIS: &str = "power::what_was_acknowledged_survives_power_cuts";
const SKIPPED: &str = "skipped: a power cut needs root and a loop device";

#[test]
fn what_was_acknowledged_survives_power_cuts() {
    let Some(job) = job() else {
        // Whoever starts a container meanwhile would hold a copy of our mount, and with it the disk that is
        // to be taken away.
        let dir = tempfile::tempdir().unwrap();
        let output = with_own_mounts(THIS, &format!("cut {}", dir.path().display()), dir.path());
        let said = [&output.stdout[..], &output.stderr[..]].concat();
        let said = String::from_utf8_lossy(&said);
        if said.starts_with("unshare:") || said.contains(SKIPPED) {
            eprintln!("{SKIPPED} ({})", said.trim());
        } else {
            assert!(output.status.success() && said.contains("1 passed"), "{said}");
        }
        return;
    };
    let (what, dir) = job.split_once(' ').unwrap();
    match what {
        "turns" => work::write_turns(Path::new(dir)),
        "all" => work::keep_all(Path::new(dir)),
        _ => cut_again_and_again(Path::new(dir)),
    }
}

fn cut_again_and_again(dir: &Path) {
    let disk = match Disk::new(dir) {
        Ok(disk) => disk,
        Err(why) => return println!("{SKIPPED}: {why}"),
    };
    let (lease, store) = (disk.mount.join("lease"), disk.mount.join("store"));
    let (mut turns, mut steps) = (0, None);
    for round in 0..ROUNDS_MAX {
        if round >= ROUNDS && turns > 10 && steps > Some(1) {
            break;
        }
        let one = Worker::start(THIS, &format!("turns {}", lease.display()));
        let two = Worker::start(THIS, &format!("all {}", store.display()));
        std::thread::sleep(Duration::from_millis(u64::from(50 + round * 37 % 200)));
        // Not what is said from here on: a sync that is under way when the disk goes is at times told that it
        // succeeded, which no disk does that loses its power.
        let (turns_sure, steps_sure) = (one.acknowledged(), two.acknowledged());
        disk.cut();
        one.kill();
        two.kill();
        println!("round {round}: {turns} turns, {steps:?}; now {turns_sure:?}, {steps_sure:?}");
        disk.again();
        turns = work::check_turns(&lease, turns_sure.unwrap_or(0).max(turns));
        steps = steps_sure.max(steps);
        work::check_all(&store, steps);
    }
    assert!(turns > 10 && steps > Some(1), "only {turns} turns and {steps:?} steps were made");
}

/// An ext4 in a file.
struct Disk {
    image: PathBuf,
    mount: PathBuf,
}

impl Disk {
    fn new(dir: &Path) -> Result<Self, String> {
        let disk = Self { image: dir.join("image"), mount: dir.join("mount") };
        fs::create_dir(&disk.mount).unwrap();
        File::create(&disk.image).unwrap().set_len(64 << 20).unwrap();
        run("mkfs.ext4", &[Path::new("-q"), &disk.image])?;
        disk.mounted()?;
        Ok(disk)
    }

    fn mounted(&self) -> Result<(), String> {
        run("mount", &[Path::new("-o"), Path::new("loop"), &self.image, &self.mount])
    }

    /// Takes the power away: what the kernel had not sent to the disk never gets there.
    #[expect(unsafe_code, reason = "the call is not in the standard library")]
    fn cut(&self) {
        const EXT4_IOC_SHUTDOWN: u64 = 0x8004_587d;
        let no_log_flush: u32 = 2;
        let root = File::open(&self.mount).unwrap();
        // SAFETY: the descriptor is open, and the call reads the one number it is given.
        let done = unsafe {
            libc::ioctl(root.as_raw_fd(), EXT4_IOC_SHUTDOWN as _, &raw const no_log_flush)
        };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    }

    /// Brings it back.
    fn again(&self) {
        run("umount", &[&self.mount]).unwrap();
        self.mounted().unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = run("umount", &[&self.mount]);
    }
}
