use std::fs;
use std::path::Path;

use daee_artifact::{ARTIFACT_BYTES_MAX, PACKED_FILES_MAX, with_files};
use daee_types::ByteSize;

use crate::PackageError;
use crate::package::{artifact_of, read, replace};

/// What was put into a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brought {
    /// How many files.
    pub files: usize,
    /// Their bytes.
    pub bytes: ByteSize,
}

/// Puts all files of a folder into the module that a manifest names, in place of those it has: agents find
/// them under `/app`. The module is written anew, so its hash is another.
pub fn bring(path: &Path, folder: &Path) -> Result<Brought, PackageError> {
    let artifact = artifact_of(path)?;
    let mut files = Vec::new();
    collect(folder, "", &mut files)?;
    let limit = usize::try_from(ARTIFACT_BYTES_MAX).unwrap_or(usize::MAX);
    let module = read(&artifact, limit)?;
    let module = with_files(&module, &files).map_err(|error| refuse(folder, &error.to_string()))?;
    if module.len() > limit {
        return Err(refuse(folder, "with them, the module is larger than an artifact may be"));
    }
    replace(&artifact, |to| std::io::Write::write_all(to, &module))?;
    let bytes = files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    Ok(Brought { files: files.len(), bytes: ByteSize(bytes) })
}

fn collect(
    folder: &Path,
    before: &str,
    files: &mut Vec<(String, Vec<u8>)>,
) -> Result<(), PackageError> {
    let failed = |error: std::io::Error| refuse(folder, &error.to_string());
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_str().ok_or_else(|| refuse(&path, "its name is not UTF-8"))?;
        let name = format!("{before}{name}");
        // Of the entry itself, not of what a link leads to.
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            collect(&path, &format!("{name}/"), files)?;
        } else if kind.is_file() {
            if files.len() == PACKED_FILES_MAX {
                return Err(refuse(&path, &format!("there are more than {PACKED_FILES_MAX}")));
            }
            let limit = usize::try_from(ARTIFACT_BYTES_MAX).unwrap_or(usize::MAX);
            files.push((name, read(&path, limit)?));
        } else {
            return Err(refuse(
                &path,
                "it is neither a file nor a folder: copy what it stands for",
            ));
        }
    }
    Ok(())
}

fn refuse(path: &Path, why: &str) -> PackageError {
    PackageError::Files { path: path.to_owned(), why: why.to_owned() }
}
