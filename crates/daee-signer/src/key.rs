use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use daee_types::{Address, Coded, Fault, Sign, SignError, Signature, Word, keccak256};
use k256::{
    ecdsa::{RecoveryId, Signature as Rs, SigningKey, VerifyingKey},
    elliptic_curve::{rand_core::OsRng, zeroize::Zeroizing},
};

use crate::{
    Password, PasswordError,
    keystore::{KEYSTORE_BYTES_MAX, Keystore, KeystoreError},
};

/// Longest plain key file in bytes: `0x`, 64 digits, and the end of a line in any fashion.
const PLAIN_MAX: usize = 68;

/// A secp256k1 key in memory, wiped when it is dropped. Shows its address and never itself.
pub struct Key {
    secret: SigningKey,
    address: Address,
}

impl Key {
    /// A new one from the system's randomness.
    pub fn generate() -> Self {
        Self::of(SigningKey::random(&mut OsRng))
    }

    /// Reads 64 hex digits, with or without `0x`.
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(digits, &mut *bytes).map_err(|_| KeyError::Shape)?;
        Self::from_secret(&bytes)
    }

    /// Reads the file that [`Key::save`] wrote. Refuses one that others on this machine can read.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, KeyError> {
        match Kept::load(path.as_ref())? {
            Kept::Plain(key) => Ok(key),
            Kept::Sealed(_) => Err(KeyError::Sealed(path.as_ref().to_owned())),
        }
    }

    /// Reads a key file of either kind, told apart by its content: what [`Key::load`] reads, or a
    /// [`Keystore`], whose password comes from `password_file` or the terminal. Blocking.
    pub fn unlock(path: &Path, password_file: Option<&Path>) -> Result<Self, KeyError> {
        let keystore = match Kept::load(path)? {
            Kept::Plain(key) => return Ok(key),
            Kept::Sealed(keystore) => keystore,
        };
        let password = Password::find(password_file, &path.display().to_string())?;
        let wrong = |error| KeyError::Keystore { path: path.to_owned(), error };
        keystore.open(&password).map_err(wrong)
    }

    /// Writes 64 hex digits and a line end to a new file of mode 0600; it is on disk on return. A file
    /// that exists is left alone: a key may be all there is of a stake.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), KeyError> {
        let digits = Zeroizing::new(hex::encode(self.secret()));
        save(path.as_ref(), &digits)
    }

    /// Writes a [`Keystore`] with the same care.
    pub fn save_sealed(&self, path: impl AsRef<Path>, password: &Password) -> Result<(), KeyError> {
        save(path.as_ref(), Keystore::write(self, password).trim_end())
    }

    /// The number itself.
    pub(crate) fn secret(&self) -> Zeroizing<[u8; 32]> {
        let bytes = Zeroizing::new(self.secret.to_bytes());
        let mut secret = Zeroizing::new([0; 32]);
        secret.copy_from_slice(&bytes);
        secret
    }

    pub(crate) fn from_secret(secret: &[u8; 32]) -> Result<Self, KeyError> {
        SigningKey::from_slice(secret).map(Self::of).map_err(|_| KeyError::Range)
    }

    fn of(secret: SigningKey) -> Self {
        let address = address_of(secret.verifying_key());
        Self { secret, address }
    }
}

impl Sign for Key {
    fn address(&self) -> Address {
        self.address
    }

    // The nonce is RFC 6979's: the same digest always gives the same signature.
    fn sign(&self, digest: &Word) -> Result<Signature, SignError> {
        let unavailable = |why: &str| SignError::Unavailable(why.to_owned());
        let (rs, id) = self
            .secret
            .sign_prehash_recoverable(digest)
            .map_err(|_| unavailable("the curve has no signature for this digest"))?;
        // The EVM recovers from 27 and 28 only; the other two happen once in 2^127 signatures.
        if id.is_x_reduced() {
            return Err(unavailable("the signature for this digest is not one that the EVM reads"));
        }
        let mut bytes = [0; 65];
        bytes[..64].copy_from_slice(&rs.to_bytes());
        bytes[64] = 27 + u8::from(id.is_y_odd());
        Ok(Signature(bytes))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.address)
    }
}

/// The account that signed a digest. `None` for anything that contracts refuse too: high s (EIP-2), a `v`
/// other than 27 or 28, numbers out of range.
pub fn recover(digest: &Word, signature: &Signature) -> Option<Address> {
    let (rs, id) = canonical(signature)?;
    VerifyingKey::recover_from_prehash(digest, &rs, id).ok().map(|key| address_of(&key))
}

/// What a key file may hold.
enum Kept {
    Plain(Key),
    Sealed(Keystore),
}

impl Kept {
    fn load(path: &Path) -> Result<Self, KeyError> {
        let failed = |error| KeyError::file(path, &error);
        let file = File::open(path).map_err(failed)?;
        // Of the open file, not of the path: nothing can be put in between.
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
        // Never moved while it grows: a move would leave a copy of the digits.
        let room = KEYSTORE_BYTES_MAX + 1;
        let mut content = Zeroizing::new(Vec::with_capacity(room));
        file.take(room as u64).read_to_end(&mut content).map_err(failed)?;
        if Keystore::is(&content) {
            let wrong = |error| KeyError::Keystore { path: path.to_owned(), error };
            return Keystore::read(&content).map(Self::Sealed).map_err(wrong);
        }
        if mode & 0o077 != 0 {
            return Err(KeyError::Exposed { path: path.to_owned(), mode });
        }
        if content.len() > PLAIN_MAX {
            return Err(KeyError::Shape);
        }
        let text = str::from_utf8(&content).map_err(|_| KeyError::Shape)?;
        Key::from_hex(text.trim_end()).map(Self::Plain)
    }
}

/// Writes a line to a new file of mode 0600.
fn save(path: &Path, line: &str) -> Result<(), KeyError> {
    let failed = |error| KeyError::file(path, &error);
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    // In two writes, so that no copy of the digits is left on the heap.
    let written = file
        .write_all(line.as_bytes())
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.sync_all())
        .and_then(|()| File::open(folder(path))?.sync_all());
    written.map_err(|error| {
        // Half a key would stand in the way of the next attempt.
        let _ = std::fs::remove_file(path);
        failed(error)
    })
}

/// Whether it is one that contracts take at all, whoever made it.
pub(crate) fn is_canonical(signature: &Signature) -> bool {
    canonical(signature).is_some()
}

fn canonical(signature: &Signature) -> Option<(Rs, RecoveryId)> {
    let (rs, v) = signature.0.split_at(64);
    let rs = Rs::from_slice(rs).ok()?;
    if rs.normalize_s().is_some() {
        return None;
    }
    let odd = match v {
        [27] => false,
        [28] => true,
        _ => return None,
    };
    Some((rs, RecoveryId::new(odd, false)))
}

/// Why there is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not 64 hex digits. What stands there is not shown: it may be a key all the same.
    #[error("a key is 64 hex digits, with or without 0x")]
    Shape,
    /// Zero, or not below the order of the curve.
    #[error("the number is no key of secp256k1: make a new one")]
    Range,
    /// No file there.
    #[error("there is no key at {}", .0.display())]
    Missing(PathBuf),
    /// Something is there already.
    #[error("{} exists and is not overwritten: move it away or choose another path", .0.display())]
    Exists(PathBuf),
    /// Others on this machine can read it.
    #[error("others can read the key (mode {mode:o}): run `chmod 600 {}`", .path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A keystore, where nobody is there to open it.
    #[error("the key at {} is a keystore, and a plain key is needed here", .0.display())]
    Sealed(PathBuf),
    /// A keystore that does not open.
    #[error("{}: {error}", .path.display())]
    Keystore {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: KeystoreError,
    },
    /// No password for it.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The file cannot be read or written.
    #[error("cannot use the key at {}: {why}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
}

impl KeyError {
    fn file(path: &Path, error: &io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing(path),
            io::ErrorKind::AlreadyExists => Self::Exists(path),
            _ => Self::File { path, why: error.to_string() },
        }
    }
}

impl Coded for KeyError {
    fn code(&self) -> &'static str {
        match self {
            KeyError::Shape => "DAEE-S010",
            KeyError::Range => "DAEE-S011",
            KeyError::Missing(_) => "DAEE-S012",
            KeyError::Exists(_) => "DAEE-S013",
            KeyError::Exposed { .. } => "DAEE-S014",
            KeyError::File { .. } => "DAEE-S015",
            KeyError::Sealed(_) => "DAEE-S016",
            KeyError::Keystore { error, .. } => error.code(),
            KeyError::Password(error) => error.code(),
        }
    }
    fn fault(&self) -> Fault {
        Fault::Node
    }
}

/// The folder that holds a file; `.` where the path names none.
pub(crate) fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn address_of(key: &VerifyingKey) -> Address {
    let point = key.to_encoded_point(false);
    // Without the tag byte that says "uncompressed".
    let hash = keccak256(&point.as_bytes()[1..]);
    let mut address = [0; 20];
    address.copy_from_slice(&hash[12..]);
    Address(address)
}
