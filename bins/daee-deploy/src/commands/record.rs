use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
};

use daee_client::{PackageError, Recording};
use daee_lifecycle::{RecordingInfo, RecordingQuery};
use daee_types::DeploymentId;
use serde::Serialize;

use crate::{access::Access, failure::Failure, show::Out};

/// Steps at which it is told how far it is.
const STEPS: u64 = 4;
/// What is smaller is there before anybody has read a line about it.
const SMALL_BYTES: u64 = 16 << 20;

#[derive(Serialize)]
struct Shown<'a> {
    file: String,
    #[serde(flatten)]
    info: &'a RecordingInfo,
}

/// Fetches a recording. The file is there once it is whole.
pub async fn record(
    out: &Out,
    access: &Access,
    id: DeploymentId,
    query: RecordingQuery,
    file: Option<&Path>,
) -> Result<u8, Failure> {
    let deployer = access.deployer().await?;
    out.progress("asking", "for a recording: the node puts it together");
    let mut recording = deployer.record(id, query).await?;
    let default = PathBuf::from(format!("deployment-{id}.run"));
    let path = file.unwrap_or(&default);
    let part = path.with_added_extension("part");
    let fetched = fetch(out, &mut recording, &part).await;
    let placed = fetched.and_then(|()| std::fs::rename(&part, path).map_err(unwritable(path)));
    placed.inspect_err(|_| {
        // What is there of it may be anything.
        let _ = std::fs::remove_file(&part);
    })?;
    let info = recording.info();
    let shown = Shown { file: path.display().to_string(), info };
    out.result(&shown, |text| {
        text.line(&format!(
            "turns {} to {} of version {}, {} bytes: {}",
            info.from, info.to, info.version, info.bytes, shown.file
        ))?;
        text.line(&format!("claimed state root: {}", info.state_root))?;
        text.line(&format!("to run it again: daee-verify run PACKAGE.car {}", shown.file))
    })?;
    Ok(0)
}

async fn fetch(out: &Out, recording: &mut Recording, part: &Path) -> Result<(), Failure> {
    let mut file = File::create(part).map_err(unwritable(part))?;
    let bytes = recording.info().bytes;
    let mut told = 0;
    while let Some(piece) = recording.next().await? {
        file.write_all(&piece).map_err(unwritable(part))?;
        let step = recording.read().saturating_mul(STEPS) / bytes.max(1);
        if step > told && bytes >= SMALL_BYTES {
            told = step;
            let mib = |bytes: u64| bytes >> 20;
            out.progress("fetching", &format!("{} of {} MiB", mib(recording.read()), mib(bytes)));
        }
    }
    file.sync_all().map_err(unwritable(part))
}

fn unwritable(path: &Path) -> impl Fn(std::io::Error) -> Failure {
    move |error| PackageError::Unwritable { path: path.to_owned(), why: error.to_string() }.into()
}
