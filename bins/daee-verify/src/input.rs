use std::{ffi::OsString, fs::File, io, io::Read, path::PathBuf};

use daee_verdict::Name;

/// A file or standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    Stdin,
    File(PathBuf),
}

/// The input could not be opened, or not be read to its end.
#[derive(Debug)]
pub struct InputError {
    pub input: Input,
    pub error: io::Error,
}

impl Input {
    pub fn open(&self) -> Result<Box<dyn Read>, InputError> {
        match self {
            Self::Stdin => Ok(Box::new(io::stdin().lock())),
            Self::File(path) => match File::open(path) {
                Ok(file) => Ok(Box::new(file)),
                Err(error) => Err(self.failed(error)),
            },
        }
    }

    /// Everything, but no more than one byte over `limit`, by which a reader sees that there is more.
    pub fn read(&self, limit: usize) -> Result<Vec<u8>, InputError> {
        let mut bytes = Vec::new();
        let all = self.open()?.take(limit as u64 + 1).read_to_end(&mut bytes);
        all.map(|_| bytes).map_err(|error| self.failed(error))
    }

    /// What it is called in a verdict.
    pub fn name(&self) -> Name {
        match self {
            Self::Stdin => Name::stdin(),
            Self::File(path) => path.as_path().into(),
        }
    }

    fn failed(&self, error: io::Error) -> InputError {
        InputError { input: self.clone(), error }
    }
}

impl From<OsString> for Input {
    fn from(path: OsString) -> Self {
        if path == "-" { Self::Stdin } else { Self::File(path.into()) }
    }
}
