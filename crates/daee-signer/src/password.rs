use std::{
    fmt,
    fs::File,
    io::{self, IsTerminal as _, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use daee_types::{Coded, Fault};
use k256::elliptic_curve::zeroize::Zeroizing;

/// Longest password in bytes.
const PASSWORD_BYTES_MAX: u64 = 1024;
/// Fewest characters of a new password.
const NEW_CHARACTERS_MIN: usize = 8;

/// A password in memory, wiped when it is dropped. Never shown.
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes one that is in memory already.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Reads it from `file`, or asks for it at the terminal without showing it; `what` says for what.
    /// Never from an argument, which every process on the machine can read.
    pub fn find(file: Option<&Path>, what: &str) -> Result<Self, PasswordError> {
        match file {
            Some(path) => Self::load(path),
            None => ask(&format!("password of {what}: ")),
        }
    }

    /// The same for a key that is to be written: asked for twice, and not too short.
    pub fn choose(file: Option<&Path>, what: &str) -> Result<Self, PasswordError> {
        let password = Self::find(file, what)?;
        if password.0.chars().count() < NEW_CHARACTERS_MIN {
            return Err(PasswordError::Short);
        }
        if file.is_none() && *ask("the same again: ")?.0 != *password.0 {
            return Err(PasswordError::Unlike);
        }
        Ok(password)
    }

    /// All of a file but the line end at its end. Refuses one that others on this machine can read.
    pub fn load(path: &Path) -> Result<Self, PasswordError> {
        let failed = |error: io::Error| PasswordError::File {
            path: path.to_owned(),
            why: error.to_string(),
        };
        let file = File::open(path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(PasswordError::Exposed { path: path.to_owned(), mode });
        }
        // With room for a line end, and never moved: a move would leave a copy.
        let room = PASSWORD_BYTES_MAX + 3;
        let mut text = Zeroizing::new(String::with_capacity(room as usize));
        file.take(room).read_to_string(&mut text).map_err(failed)?;
        let line = text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        let end = line.map_or(text.len(), str::len);
        text.truncate(end);
        if text.len() as u64 > PASSWORD_BYTES_MAX {
            return Err(PasswordError::Long);
        }
        Ok(Self(text))
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

fn ask(prompt: &str) -> Result<Password, PasswordError> {
    // Who feeds a program from a pipe is not there to be asked.
    if !io::stdin().is_terminal() {
        return Err(PasswordError::NoTerminal);
    }
    let text = rpassword::prompt_password(prompt).map_err(|_| PasswordError::NoTerminal)?;
    let password = Password::new(text);
    if password.0.len() as u64 > PASSWORD_BYTES_MAX {
        return Err(PasswordError::Long);
    }
    Ok(password)
}

/// Why there is no password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Nobody to ask.
    #[error(
        "the key needs a password and there is no terminal to ask at: give `--password-file FILE` or \
         set DAEE_PASSWORD_FILE"
    )]
    NoTerminal,
    /// The file cannot be read.
    #[error("cannot read the password in {}: {why}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// Others on this machine can read it.
    #[error("others can read the password (mode {mode:o}): run `chmod 600 {}`", .path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Beyond any password.
    #[error("the password is longer than 1024 bytes: give the file that holds it and nothing else")]
    Long,
    /// Soon guessed.
    #[error("the password has less than 8 characters: choose a longer one")]
    Short,
    /// Typed differently the second time.
    #[error("the two passwords are not the same: type it again")]
    Unlike,
}

impl Coded for PasswordError {
    fn code(&self) -> &'static str {
        match self {
            PasswordError::NoTerminal => "DAEE-S060",
            PasswordError::File { .. } => "DAEE-S061",
            PasswordError::Exposed { .. } => "DAEE-S062",
            PasswordError::Long => "DAEE-S063",
            PasswordError::Short => "DAEE-S064",
            PasswordError::Unlike => "DAEE-S065",
        }
    }
    fn fault(&self) -> Fault {
        Fault::Node
    }
}
