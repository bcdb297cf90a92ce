//! Keys under a password, as Ethereum wallets keep them: the Web3 Secret Storage definition, version 3.

use std::fmt;

use aes::Aes128;
use ctr::{
    Ctr128BE,
    cipher::{KeyIvInit as _, StreamCipher as _},
};
use daee_types::{Address, Coded, Fault, Sign as _, keccak256};
use k256::{
    elliptic_curve::{
        rand_core::{OsRng, RngCore as _},
        zeroize::Zeroizing,
    },
    sha2::Sha256,
};
use pbkdf2::pbkdf2_hmac;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Key, Password, scrypt::scrypt};

/// Largest keystore file in bytes: 16 KiB. Wallets write about half a KiB.
pub const KEYSTORE_BYTES_MAX: usize = 16 << 10;

/// Most memory that a keystore may ask for, in bytes: what geth's own standard takes (n 262144, r 8) and
/// the little beside it.
const SCRYPT_BYTES_MAX: u128 = 257 << 20;
/// Most work that a keystore may ask for, as n times r times p: twice geth's standard, some seconds.
const SCRYPT_WORK_MAX: u128 = 1 << 22;
/// Most rounds of PBKDF2 that a keystore may ask for: some seconds.
const PBKDF2_ROUNDS_MAX: u32 = 10_000_000;
/// The n in what is written here: 128 MiB and less than a second, as other wallets of today have it.
const N: usize = 131_072;

/// A keystore that was read and not opened yet: what it will cost is known and bounded.
pub struct Keystore {
    kdf: Kdf,
    iv: [u8; 16],
    secret: Vec<u8>,
    mac: [u8; 32],
    address: Option<Address>,
}

impl Keystore {
    /// Whether a key file is one of these: JSON, where a plain key is digits.
    pub fn is(content: &[u8]) -> bool {
        content.trim_ascii_start().starts_with(b"{")
    }

    /// Reads a file of version 3 with scrypt or PBKDF2 and AES-128-CTR, whoever wrote it; what a wallet adds
    /// of its own is left alone. Refuses one whose opening would cost more than 257 MiB or some seconds.
    pub fn read(json: &[u8]) -> Result<Self, KeystoreError> {
        if json.len() > KEYSTORE_BYTES_MAX {
            return Err(malformed("it is larger than 16 KiB"));
        }
        let file: File = serde_json::from_slice(json).map_err(malformed)?;
        if file.version != 3 {
            return Err(malformed(format_args!(
                "it is of version {}, and 3 is read",
                file.version
            )));
        }
        let Crypto { cipher, cipherparams, ciphertext, kdf, kdfparams, mac } = file.crypto;
        if cipher != "aes-128-ctr" {
            return Err(malformed(format_args!(
                "its cipher is {cipher:?}, and aes-128-ctr is read"
            )));
        }
        let secret = bytes("ciphertext", &ciphertext)?;
        // Wallets of old wrote numbers without their leading zeros.
        if secret.is_empty() || secret.len() > 32 {
            return Err(malformed("its ciphertext is not that of a key, which has 32 bytes"));
        }
        let address = file.address.map(|text| exact("address", &text).map(Address)).transpose()?;
        Ok(Self {
            kdf: Kdf::read(&kdf, kdfparams)?,
            iv: exact("iv", &cipherparams.iv)?,
            secret,
            mac: exact("mac", &mac)?,
            address,
        })
    }

    /// The account that the file says it holds; nothing proves it before it is opened.
    pub fn address(&self) -> Option<Address> {
        self.address
    }

    /// Takes the key out. Blocking: up to some seconds, as the file asks for.
    pub fn open(&self, password: &Password) -> Result<Key, KeystoreError> {
        let derived = self.kdf.derive(password);
        if mac(&derived, &self.secret) != self.mac {
            return Err(KeystoreError::WrongPassword);
        }
        let mut secret = Zeroizing::new([0; 32]);
        let digits = &mut secret[32 - self.secret.len()..];
        digits.copy_from_slice(&self.secret);
        cipher(&derived, &self.iv, digits);
        let key = Key::from_secret(&secret).map_err(|_| malformed("what it holds is no key"))?;
        match self.address {
            Some(said) if said != key.address() => {
                Err(KeystoreError::OtherAddress { said, held: key.address() })
            }
            _ => Ok(key),
        }
    }

    /// What a new keystore file with this key holds: scrypt with n 131072, r 8 and p 1. Blocking for about a
    /// second.
    pub fn write(key: &Key, password: &Password) -> String {
        sealed(key, password, N)
    }
}

impl fmt::Debug for Keystore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keystore({:?}, {:?})", self.address, self.kdf)
    }
}

/// Why a keystore is not read or not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeystoreError {
    /// Not a keystore, or not of a kind that is read.
    #[error(
        "the keystore cannot be read: {0}; give a version 3 file (scrypt or pbkdf2, aes-128-ctr) or a \
         plain key"
    )]
    Malformed(String),
    /// It would take more than anybody's own wallet asks for.
    #[error(
        "opening the keystore would cost more than 256 MiB or some seconds ({0}): open it with the \
         wallet that wrote it, and write it anew with usual parameters"
    )]
    TooCostly(String),
    /// Not the password, or the file was changed: nobody can tell one from the other.
    #[error("the password does not open the keystore (or the file was changed)")]
    WrongPassword,
    /// The name on the file is not that of the key inside.
    #[error(
        "the keystore says {said} and holds the key of {held}: correct or remove its `address`"
    )]
    OtherAddress {
        /// What stands there.
        said: Address,
        /// Whose key it is.
        held: Address,
    },
}

impl Coded for KeystoreError {
    fn code(&self) -> &'static str {
        match self {
            KeystoreError::Malformed(_) => "DAEE-S050",
            KeystoreError::TooCostly(_) => "DAEE-S051",
            KeystoreError::WrongPassword => "DAEE-S052",
            KeystoreError::OtherAddress { .. } => "DAEE-S053",
        }
    }
    fn fault(&self) -> Fault {
        Fault::Node
    }
}

#[derive(Deserialize)]
struct File {
    // ethers writes it with a capital.
    #[serde(alias = "Crypto")]
    crypto: Crypto,
    version: u32,
    #[serde(default)]
    address: Option<String>,
}

#[derive(Deserialize)]
struct Crypto {
    cipher: String,
    cipherparams: CipherParams,
    ciphertext: String,
    kdf: String,
    kdfparams: Value,
    mac: String,
}

#[derive(Deserialize)]
struct CipherParams {
    iv: String,
}

/// How a password becomes a key.
enum Kdf {
    /// n, r and p.
    Scrypt {
        costs: [usize; 3],
        salt: Vec<u8>,
    },
    Pbkdf2 {
        rounds: u32,
        salt: Vec<u8>,
    },
}

impl Kdf {
    fn read(name: &str, params: Value) -> Result<Self, KeystoreError> {
        #[derive(Deserialize)]
        struct Scrypt {
            n: u64,
            r: u32,
            p: u32,
            dklen: u32,
            salt: String,
        }
        #[derive(Deserialize)]
        struct Pbkdf2 {
            c: u64,
            prf: String,
            dklen: u32,
            salt: String,
        }
        match name {
            "scrypt" => {
                let Scrypt { n, r, p, dklen, salt } =
                    serde_json::from_value(params).map_err(malformed)?;
                length(dklen)?;
                let (blocks, lanes, size) = (u128::from(n), u128::from(p), u128::from(r));
                let memory = 128 * size * (blocks + lanes);
                if memory > SCRYPT_BYTES_MAX || blocks * size * lanes > SCRYPT_WORK_MAX {
                    return Err(KeystoreError::TooCostly(format!("n {n}, r {r}, p {p}")));
                }
                if n < 2 || !n.is_power_of_two() {
                    return Err(malformed(format_args!("its n is {n}, and is a power of two")));
                }
                if r == 0 || p == 0 {
                    return Err(malformed("its r or p is 0"));
                }
                let costs = [n as usize, r as usize, p as usize];
                Ok(Self::Scrypt { costs, salt: bytes("salt", &salt)? })
            }
            "pbkdf2" => {
                let Pbkdf2 { c, prf, dklen, salt } =
                    serde_json::from_value(params).map_err(malformed)?;
                length(dklen)?;
                if prf != "hmac-sha256" {
                    return Err(malformed(format_args!(
                        "its prf is {prf:?}, and hmac-sha256 is read"
                    )));
                }
                let rounds = u32::try_from(c).ok().filter(|rounds| *rounds <= PBKDF2_ROUNDS_MAX);
                let rounds = rounds.ok_or_else(|| KeystoreError::TooCostly(format!("c {c}")))?;
                if rounds == 0 {
                    return Err(malformed("its c is 0"));
                }
                Ok(Self::Pbkdf2 { rounds, salt: bytes("salt", &salt)? })
            }
            other => {
                Err(malformed(format_args!("its kdf is {other:?}, and scrypt or pbkdf2 is read")))
            }
        }
    }

    fn derive(&self, password: &Password) -> Zeroizing<[u8; 32]> {
        let password = password.text().as_bytes();
        match self {
            Self::Scrypt { costs, salt } => scrypt(password, salt, *costs),
            Self::Pbkdf2 { rounds, salt } => {
                let mut derived = Zeroizing::new([0; 32]);
                pbkdf2_hmac::<Sha256>(password, salt, *rounds, &mut *derived);
                derived
            }
        }
    }
}

impl fmt::Debug for Kdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scrypt { costs: [n, r, p], .. } => write!(f, "scrypt of n {n}, r {r}, p {p}"),
            Self::Pbkdf2 { rounds, .. } => write!(f, "pbkdf2 of {rounds} rounds"),
        }
    }
}

fn sealed(key: &Key, password: &Password, n: usize) -> String {
    let mut random = [0; 64];
    OsRng.fill_bytes(&mut random);
    let (salt, rest) = random.split_at(32);
    let iv: [u8; 16] = rest[..16].try_into().expect("16 of 32");
    let derived = scrypt(password.text().as_bytes(), salt, [n, 8, 1]);
    let mut secret = key.secret();
    cipher(&derived, &iv, &mut *secret);
    let file = json!({
        "address": hex::encode(key.address().0),
        "crypto": {
            "cipher": "aes-128-ctr",
            "cipherparams": { "iv": hex::encode(iv) },
            "ciphertext": hex::encode(*secret),
            "kdf": "scrypt",
            "kdfparams": {
                "dklen": 32, "n": n, "r": 8, "p": 1, "salt": hex::encode(salt),
            },
            "mac": hex::encode(mac(&derived, &*secret)),
        },
        // Names the file for other wallets, which insist on one; nothing else rests on it.
        "id": uuid(&rest[16..]),
        "version": 3,
    });
    format!("{file}\n")
}

/// Both ways: in counter mode to open is to close.
fn cipher(derived: &[u8; 32], iv: &[u8; 16], bytes: &mut [u8]) {
    Ctr128BE::<Aes128>::new(derived[..16].into(), iv.into()).apply_keystream(bytes);
}

fn mac(derived: &[u8; 32], ciphertext: &[u8]) -> [u8; 32] {
    let mut input = Zeroizing::new(Vec::with_capacity(48));
    input.extend(&derived[16..]);
    input.extend(ciphertext);
    keccak256(&*input)
}

/// A random UUID (version 4) of 16 random bytes.
fn uuid(random: &[u8]) -> String {
    let mut digits = hex::encode(random);
    digits.replace_range(12..13, "4");
    digits.replace_range(16..17, ["8", "9", "a", "b"][usize::from(random[8] & 3)]);
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    parts.join("-")
}

fn length(dklen: u32) -> Result<(), KeystoreError> {
    match dklen {
        32 => Ok(()),
        _ => Err(malformed(format_args!("its dklen is {dklen}, and is 32"))),
    }
}

fn exact<const N: usize>(name: &str, text: &str) -> Result<[u8; N], KeystoreError> {
    let wrong = |_| malformed(format_args!("its {name} is not of {N} bytes"));
    bytes(name, text)?.try_into().map_err(wrong)
}

fn bytes(name: &str, text: &str) -> Result<Vec<u8>, KeystoreError> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    hex::decode(digits).map_err(|_| malformed(format_args!("its {name} is not hex digits")))
}

fn malformed(why: impl fmt::Display) -> KeystoreError {
    KeystoreError::Malformed(why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_by_the_password_alone() {
        let key = Key::generate();
        let password = Password::new("grüße, welt".to_owned());
        let text = sealed(&key, &password, 16);
        let keystore = Keystore::read(text.as_bytes()).unwrap();
        assert_eq!(keystore.address(), Some(key.address()));
        assert_eq!(keystore.open(&password).unwrap().address(), key.address());
        for wrong in ["", "grüße", "grüße, welt ", "Grüße, welt"] {
            let wrong = Password::new(wrong.to_owned());
            assert_eq!(keystore.open(&wrong).unwrap_err(), KeystoreError::WrongPassword);
        }
        let secret = hex::encode(*key.secret());
        assert!(!text.contains(&secret) && !format!("{keystore:?}").contains(&secret));
        // Nothing repeats from one file to the next.
        let [one, two]: [Value; 2] =
            [text, sealed(&key, &password, 16)].map(|text| serde_json::from_str(&text).unwrap());
        assert_ne!(one["id"], two["id"]);
        for part in ["ciphertext", "mac", "cipherparams"] {
            assert_ne!(one["crypto"][part], two["crypto"][part]);
        }
        assert_ne!(one["crypto"]["kdfparams"]["salt"], two["crypto"]["kdfparams"]["salt"]);
    }

    #[test]
    fn an_id_is_a_random_uuid_of_version_4() {
        let id = uuid(&[0xff; 16]);
        assert_eq!(id, "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(uuid(&[0; 16]), "00000000-0000-4000-8000-000000000000");
    }
}
