use std::{convert::Infallible, fmt, fs::File, io, io::Read, path::PathBuf, str::FromStr};

/// A file or standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    Stdin,
    File(PathBuf),
}

/// The input could not be read to its end.
#[derive(Debug, thiserror::Error)]
#[error("{input} cannot be read: {error}")]
pub struct InputError {
    input: Input,
    error: io::Error,
}

impl Input {
    /// Everything, but no more than one byte over `limit`, by which a reader sees that there is more.
    pub fn read(&self, limit: usize) -> Result<Vec<u8>, InputError> {
        let mut bytes = Vec::new();
        let all = self.open().and_then(|from| from.take(limit as u64 + 1).read_to_end(&mut bytes));
        all.map(|_| bytes).map_err(|error| self.failed(error))
    }

    /// Everything, in pieces.
    pub fn read_pieces(&self, mut each: impl FnMut(&[u8])) -> Result<(), InputError> {
        // Large enough that the calls do not count, small enough to stay in a core's cache.
        let mut buffer = vec![0; 256 << 10];
        let mut from = self.open().map_err(|error| self.failed(error))?;
        loop {
            match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(len) => each(&buffer[..len]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    fn open(&self) -> io::Result<Box<dyn Read>> {
        match self {
            Self::Stdin => Ok(Box::new(io::stdin().lock())),
            Self::File(path) => File::open(path).map(|file| Box::new(file) as Box<dyn Read>),
        }
    }

    fn failed(&self, error: io::Error) -> InputError {
        InputError { input: self.clone(), error }
    }
}

impl FromStr for Input {
    type Err = Infallible;
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == "-" { Self::Stdin } else { Self::File(text.into()) })
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => f.write_str("<stdin>"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}
