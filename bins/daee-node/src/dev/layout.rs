//! Where a development network keeps what it has.

use std::{
    fs,
    path::{Path, PathBuf},
};

use daee_signer::Key;
use serde::Serialize;
use tempfile::TempDir;

use crate::failure::Failure;

const MANIFEST: &str = include_str!("../../../../docs/examples/oracle/agent.yaml");
const ARTIFACT: &[u8] = include_bytes!("../../../../docs/examples/oracle/oracle.wasm");
const MANIFEST_NEXT: &str = include_str!("../../../../docs/examples/oracle/agent-v1.3.0.yaml");
const ARTIFACT_NEXT: &[u8] = include_bytes!("../../../../docs/examples/oracle/oracle-v1.3.0.wasm");

/// A folder, the user's or one that goes with the network.
pub struct Layout {
    dir: PathBuf,
    _temporary: Option<TempDir>,
}

impl Layout {
    pub fn make(dir: Option<&Path>) -> Result<Self, Failure> {
        let (dir, temporary) = match dir {
            Some(dir) => (dir.to_owned(), None),
            None => {
                let made = tempfile::Builder::new().prefix("daee-dev-").tempdir();
                let made =
                    made.map_err(|error| Failure::new("no folder for the network", error))?;
                (made.path().to_owned(), Some(made))
            }
        };
        let layout = Self { dir, _temporary: temporary };
        layout.folder("keys")?;
        // Processes get these paths in their settings, and may start elsewhere.
        let dir = fs::canonicalize(&layout.dir)
            .map_err(|error| Failure::new(layout.dir.display(), error))?;
        Ok(Self { dir, ..layout })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn folder(&self, name: &str) -> Result<PathBuf, Failure> {
        let path = self.path(name);
        fs::create_dir_all(&path).map_err(|error| Failure::new(path.display(), error))?;
        Ok(path)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, Failure> {
        let path = self.path(name);
        fs::write(&path, bytes).map_err(|error| Failure::new(path.display(), error))?;
        Ok(path)
    }

    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<PathBuf, Failure> {
        let text = serde_json::to_string_pretty(value).expect("plain values have a JSON form");
        self.write(name, (text + "\n").as_bytes())
    }

    pub fn key_file(&self, name: &str) -> PathBuf {
        self.path("keys").join(format!("{name}.key"))
    }

    /// The key of this name: the one that is there, or a new one.
    pub fn key(&self, name: &str) -> Result<Key, Failure> {
        let path = self.key_file(name);
        if path.exists() {
            return Ok(Key::load(&path)?);
        }
        let key = Key::generate();
        key.save(&path)?;
        Ok(key)
    }

    /// What nodes kept belongs to the chain that it was kept for.
    pub fn forget_nodes(&self, count: usize) -> Result<(), Failure> {
        for number in 1..=count {
            let path = self.path(&format!("node-{number}"));
            if path.exists() {
                fs::remove_dir_all(&path).map_err(|error| Failure::new(path.display(), error))?;
            }
        }
        Ok(())
    }

    /// The oracle, and its next version for `update`.
    pub fn agents(&self) -> Result<(PathBuf, PathBuf), Failure> {
        let (agent, next) = (self.folder("oracle")?, self.folder("oracle-next")?);
        self.write("oracle/agent.yaml", MANIFEST.as_bytes())?;
        self.write("oracle/oracle.wasm", ARTIFACT)?;
        self.write("oracle-next/agent.yaml", MANIFEST_NEXT.as_bytes())?;
        self.write("oracle-next/oracle-v1.3.0.wasm", ARTIFACT_NEXT)?;
        Ok((agent, next))
    }
}
