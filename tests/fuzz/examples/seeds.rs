//! Writes the seeds of every target into a folder of its name.

use std::path::Path;
use std::{env, fs, io};

use daee_fuzz::TARGETS;

fn main() -> io::Result<()> {
    let folder = env::args_os().nth(1).ok_or_else(|| io::Error::other("name a folder"))?;
    for target in TARGETS {
        let folder = Path::new(&folder).join(target.name);
        fs::create_dir_all(&folder)?;
        for (at, seed) in (target.seeds)().iter().enumerate() {
            fs::write(folder.join(format!("{at:04}")), seed)?;
        }
    }
    Ok(())
}
