//! Keys under a password: what other wallets wrote is read, and what would harm a reader is not.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use daee_signer::{
    Key, KeyError, Password, PasswordError,
    keystore::{KEYSTORE_BYTES_MAX, Keystore, KeystoreError},
};
use daee_types::{Coded as _, Sign as _};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

/// Of the definition and of other wallets; see the README beside them.
#[derive(Deserialize)]
struct Vector {
    name: String,
    password: String,
    key: String,
    keystore: Value,
}

fn vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!("../vectors/keystore.json")).unwrap()
}

fn password(text: &str) -> Password {
    Password::new(text.to_owned())
}

#[test]
fn keystores_of_other_wallets_open_by_their_passwords_alone() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 7);
    for Vector { name, password: text, key, keystore } in vectors {
        let keystore = Keystore::read(keystore.to_string().as_bytes());
        let keystore = keystore.unwrap_or_else(|error| panic!("{name}: {error}"));
        let opened =
            keystore.open(&password(&text)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(opened.address(), Key::from_hex(&key).unwrap().address(), "{name}");
        let wrong = keystore.open(&password(&text.to_uppercase())).unwrap_err();
        assert_eq!(wrong, KeystoreError::WrongPassword, "{name}");
    }
}

/// A keystore that costs nothing to open, with the key `[7; 32]` and the password "12345678".
fn cheap() -> Value {
    json!({
        "version": 3,
        "id": "0f8fad5b-d9cb-469f-a165-70867728950e",
        "crypto": {
            "cipher": "aes-128-ctr",
            "cipherparams": { "iv": "00".repeat(16) },
            "ciphertext": "00".repeat(32),
            "kdf": "scrypt",
            "kdfparams": { "dklen": 32, "n": 2, "r": 1, "p": 1, "salt": "" },
            "mac": "00".repeat(32),
        },
    })
}

/// What the reader says of a keystore in which `at` (a JSON pointer) is `value`.
fn check(at: &str, value: Value, want: Result<(), (&str, &str)>) {
    let mut file = cheap();
    *file.pointer_mut(at).unwrap_or_else(|| panic!("{at} is there")) = value;
    match (Keystore::read(file.to_string().as_bytes()), want) {
        (Ok(_), Ok(())) => {}
        (Err(error), Err((code, part))) => {
            assert_eq!(error.code(), code, "{at}: {error}");
            assert!(error.to_string().contains(part), "{at}: {error}");
        }
        (got, want) => panic!("{at}: {got:?} is not {want:?}"),
    }
}

fn check_kdf(name: &str, params: Value, want: Result<(), (&str, &str)>) {
    let mut file = cheap();
    file["crypto"]["kdf"] = name.into();
    check(
        "/crypto",
        {
            file["crypto"]["kdfparams"] = params;
            file["crypto"].take()
        },
        want,
    );
}

#[test]
fn a_hostile_keystore_costs_no_more_than_a_wallets_own() {
    let scrypt = |n: u64, r: u64, p: u64, want| {
        check_kdf("scrypt", json!({"dklen": 32, "n": n, "r": r, "p": p, "salt": ""}), want);
    };
    let costly = |part| Err(("DAEE-S051", part));
    scrypt(262_144, 8, 1, Ok(()));
    scrypt(262_144, 1, 8, Ok(()));
    scrypt(131_072, 8, 1, Ok(()));
    scrypt(4096, 8, 6, Ok(()));
    scrypt(524_288, 8, 1, costly("n 524288, r 8, p 1"));
    scrypt(262_144, 16, 1, costly("r 16"));
    scrypt(1 << 63, 8, 1, costly("more than 256 MiB"));
    scrypt(u64::MAX, u32::MAX.into(), u32::MAX.into(), costly("or some seconds"));
    // Little memory, and years.
    scrypt(2, 1, 1 << 22, costly("p 4194304"));
    scrypt(262_144, 1, 17, costly("p 17"));
    scrypt(1, 1, 1 << 30, costly("p 1073741824"));
    let rounds = |c: u64, want| {
        let params = json!({"dklen": 32, "c": c, "prf": "hmac-sha256", "salt": ""});
        check_kdf("pbkdf2", params, want);
    };
    rounds(1, Ok(()));
    rounds(10_000_000, Ok(()));
    rounds(10_000_001, costly("c 10000001"));
    rounds(u64::MAX, costly("c 18446744073709551615"));
}

#[test]
fn what_is_not_a_keystore_of_version_3_says_why() {
    let malformed = |part| Err(("DAEE-S050", part));
    check("/id", json!("anything"), Ok(()));
    check("/version", json!(1), malformed("it is of version 1"));
    check("/version", json!("3"), malformed("invalid type"));
    check("/crypto", json!({}), malformed("missing field `cipher`"));
    check("/crypto/cipher", json!("aes-128-cbc"), malformed("its cipher is \"aes-128-cbc\""));
    check("/crypto/cipherparams/iv", json!("00"), malformed("its iv is not of 16 bytes"));
    check("/crypto/ciphertext", json!(""), malformed("which has 32 bytes"));
    check("/crypto/ciphertext", json!("00".repeat(33)), malformed("which has 32 bytes"));
    check("/crypto/ciphertext", json!("xx"), malformed("its ciphertext is not hex"));
    check("/crypto/mac", json!("00".repeat(31)), malformed("its mac is not of 32 bytes"));
    check("/crypto/kdf", json!("argon2"), malformed("its kdf is \"argon2\""));
    check("/crypto/kdfparams/dklen", json!(16), malformed("its dklen is 16"));
    check("/crypto/kdfparams/n", json!(3), malformed("its n is 3"));
    check("/crypto/kdfparams/n", json!(0), malformed("its n is 0"));
    check("/crypto/kdfparams/r", json!(0), malformed("its r or p is 0"));
    check("/crypto/kdfparams/p", json!(0), malformed("its r or p is 0"));
    check("/crypto/kdfparams/n", json!(-1), malformed("invalid value"));
    let params = |c: u64, prf: &str| json!({"dklen": 32, "c": c, "prf": prf, "salt": ""});
    check_kdf("pbkdf2", params(0, "hmac-sha256"), malformed("its c is 0"));
    check_kdf("pbkdf2", params(1, "hmac-sha512"), malformed("its prf is \"hmac-sha512\""));
    for text in ["", "{", "{}", "[]", "null", "{\"version\": 3}", "{\"crypto\": 1, \"crypto\": 1}"]
    {
        let error = Keystore::read(text.as_bytes()).unwrap_err();
        assert_eq!(error.code(), "DAEE-S050", "{text:?}: {error}");
    }
    let large = cheap().to_string() + &" ".repeat(KEYSTORE_BYTES_MAX);
    assert!(Keystore::read(large.as_bytes()).unwrap_err().to_string().contains("16 KiB"));
}

#[test]
fn a_keystore_under_another_name_is_not_taken() {
    let vector = vectors().pop().unwrap();
    let mut keystore = vector.keystore;
    keystore["address"] = json!("00".repeat(20));
    let keystore = Keystore::read(keystore.to_string().as_bytes()).unwrap();
    let error = keystore.open(&password(&vector.password)).unwrap_err();
    assert_eq!(error.code(), "DAEE-S053", "{error}");
}

/// A folder with one file of these bytes and permission bits.
fn file(content: impl AsRef<[u8]>, mode: u32) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    (dir, path)
}

#[test]
fn a_key_file_is_told_apart_by_what_it_holds() {
    let Vector { key, password, keystore, .. } = vectors().pop().unwrap();
    let address = Key::from_hex(&key).unwrap().address();
    let (_plain, plain) = file(&key, 0o600);
    assert_eq!(Key::unlock(&plain, None).unwrap().address(), address);
    // What is under a password may be read by others, as wallets leave it.
    let (_sealed, sealed) = file(format!("\n {keystore}"), 0o644);
    let (_right, right) = file(format!("{password}\n"), 0o600);
    assert_eq!(Key::unlock(&sealed, Some(&right)).unwrap().address(), address);
    assert_eq!(Key::load(&sealed).unwrap_err().code(), "DAEE-S016");
    let (_wrong, wrong) = file("12345678", 0o600);
    let error = Key::unlock(&sealed, Some(&wrong)).unwrap_err();
    assert_eq!(error.code(), "DAEE-S052", "{error}");
    assert!(error.to_string().contains(sealed.to_str().unwrap()), "{error}");
    // Plain keys others can read stay refused, and what is neither kind shows nothing of itself.
    let (_open, open) = file(&key, 0o640);
    assert_eq!(Key::unlock(&open, None).unwrap_err().code(), "DAEE-S014");
    for neither in [key.clone() + "00", "\u{feff}{}".to_owned(), "0".repeat(20_000)] {
        let (_dir, path) = file(&neither, 0o600);
        assert_eq!(Key::unlock(&path, None).unwrap_err(), KeyError::Shape);
    }
}

#[test]
fn a_password_is_all_of_its_file_but_the_line_end() {
    let Vector { key, keystore, .. } = vectors().pop().unwrap();
    let address = Key::from_hex(&key).unwrap().address();
    let (_sealed, sealed) = file(keystore.to_string(), 0o600);
    for (text, code) in [
        ("grüße, welt", None),
        ("grüße, welt\n", None),
        ("grüße, welt\r\n", None),
        ("grüße, welt\n\n", Some("DAEE-S052")),
        ("grüße, welt\r", Some("DAEE-S052")),
        ("grüße, welt ", Some("DAEE-S052")),
        ("", Some("DAEE-S052")),
        (&"x".repeat(1024), Some("DAEE-S052")),
        (&"x".repeat(1025), Some("DAEE-S063")),
        (&"x".repeat(5000), Some("DAEE-S063")),
    ] {
        let (_dir, path) = file(text, 0o600);
        let got = Key::unlock(&sealed, Some(&path));
        match code {
            None => assert_eq!(got.unwrap().address(), address, "{text:?}"),
            Some(code) => assert_eq!(got.unwrap_err().code(), code, "{text:?}"),
        }
    }
    let (_dir, open) = file("grüße, welt", 0o604);
    let error = Password::load(&open).unwrap_err();
    assert!(matches!(error, PasswordError::Exposed { mode: 0o604, .. }), "{error}");
    let (_dir, bytes) = file([0xff, 0xfe], 0o600);
    assert_eq!(Password::load(&bytes).unwrap_err().code(), "DAEE-S061");
    assert_eq!(Password::load("/nowhere".as_ref()).unwrap_err().code(), "DAEE-S061");
}

#[test]
fn a_new_keystore_is_private_and_asks_for_a_password_worth_the_name() {
    let dir = tempfile::tempdir().unwrap();
    let (_short, short) = file("1234567\n", 0o600);
    assert_eq!(Password::choose(Some(&short), "x").unwrap_err(), PasswordError::Short);
    let (_right, right) = file("12345678\n", 0o600);
    let password = Password::choose(Some(&right), "x").unwrap();
    let key = Key::generate();
    let path = dir.path().join("operator.json");
    key.save_sealed(&path, &password).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(Key::unlock(&path, Some(&right)).unwrap().address(), key.address());
    let before = fs::read(&path).unwrap();
    assert_eq!(Key::generate().save_sealed(&path, &password).unwrap_err().code(), "DAEE-S013");
    assert_eq!(fs::read(&path).unwrap(), before);
}

proptest! {
    #[test]
    fn no_keystore_file_makes_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Keystore::read(&bytes);
    }

    #[test]
    fn a_changed_byte_opens_no_other_key(at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let Vector { key, password: text, mut keystore, .. } = vectors().swap_remove(2);
        keystore["address"] = Value::Null;
        let mut bytes = keystore.to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(keystore) = Keystore::read(&bytes)
            && let Ok(opened) = keystore.open(&password(&text))
        {
            // The iv is the one part that the definition leaves without a seal.
            let iv = vectors()[2].keystore["crypto"]["cipherparams"]["iv"].to_string();
            let same = opened.address() == Key::from_hex(&key).unwrap().address();
            prop_assert!(same || !String::from_utf8_lossy(&bytes).contains(&iv));
        }
    }
}
