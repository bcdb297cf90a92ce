//! Whose signature it is, and who may read the key.

use std::{fs, os::unix::fs::PermissionsExt as _};

use daee_lifecycle::Recover;
use daee_signer::{Key, KeyError, recover};
use daee_types::{Coded as _, Sign as _, Signature, Word, keccak256};

const RECOVER: Recover = recover;

/// Order of the curve, from SEC 2.
const ORDER: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";

fn word(hex: &str) -> Word {
    let mut word = [0; 32];
    hex::decode_to_slice(hex, &mut word).unwrap();
    word
}

#[test]
fn signatures_are_those_that_eip_712_publishes() {
    // The "Ether Mail" example of EIP-712 (assets/eip-712/Example.js): the key is keccak256("cow").
    let key = Key::from_hex(&hex::encode(keccak256("cow"))).unwrap();
    assert_eq!(key.address().to_string(), "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826");
    let digest = word("be609aee343fb3c4b28e1df9e632fca64fcfaede20f02e86244efddf30957bd2");
    let signature = key.sign(&digest).unwrap();
    assert_eq!(
        signature.to_string(),
        "0x4355c47d63924e8a72e509b65029052eb6c299d53a04e167c5775fd466751c9d\
           07299936d304c153f6443dfa05f40ff007d72911b6f72307f996231605b91562\
           1c"
    );
    assert_eq!(RECOVER(&digest, &signature), Some(key.address()));
}

#[test]
fn addresses_are_those_of_the_published_test_mnemonic() {
    // "test test test test test test test test test test test junk", first two accounts.
    for (secret, address) in [
        (
            "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
            "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
        ),
        (
            "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
            "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
        ),
    ] {
        assert_eq!(Key::from_hex(secret).unwrap().address().to_string(), address);
    }
}

#[test]
fn the_other_signature_of_the_same_digest_is_refused() {
    let key = Key::generate();
    for n in 0..32 {
        let digest = keccak256([n]);
        let low = key.sign(&digest).unwrap();
        assert_eq!(recover(&digest, &low), Some(key.address()));
        // s becomes order - s, and v the other one: every curve library would take it.
        let mut high = low;
        high.0[32..64].copy_from_slice(&minus(word(ORDER), low.0[32..64].try_into().unwrap()));
        high.0[64] = 27 + 28 - low.0[64];
        assert_eq!(recover(&digest, &high), None);
    }
}

#[test]
fn what_is_no_signature_recovers_to_nobody() {
    let key = Key::generate();
    let digest = keccak256("hello");
    let good = key.sign(&digest).unwrap();
    let check = |change: &dyn Fn(&mut [u8; 65])| {
        let mut bytes = good.0;
        change(&mut bytes);
        assert_eq!(recover(&digest, &Signature(bytes)), None, "{}", Signature(bytes));
    };
    for v in [0, 1, 26, 29, 30, 255] {
        check(&|bytes| bytes[64] = v);
    }
    check(&|bytes| bytes[..32].fill(0));
    check(&|bytes| bytes[32..64].fill(0));
    check(&|bytes| bytes[..32].copy_from_slice(&word(ORDER)));
    check(&|bytes| bytes[..64].fill(0xff));
    assert_ne!(recover(&keccak256("hallo"), &good), Some(key.address()));
}

#[test]
fn a_key_comes_back_from_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("operator.key");
    let key = Key::generate();
    key.save(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!((text.len(), text.ends_with('\n')), (65, true));
    assert_eq!(Key::load(&path).unwrap().address(), key.address());
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_command_that_mends_it() {
    for mode in [0o644, 0o640, 0o604, 0o620, 0o601] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("operator.key");
        Key::generate().save(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = Key::load(&path).unwrap_err();
        assert_eq!(error.code(), "DAEE-S014");
        assert!(error.to_string().contains(&format!("chmod 600 {}", path.display())), "{error}");
    }
}

#[test]
fn a_key_is_never_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("operator.key");
    let first = Key::generate();
    first.save(&path).unwrap();
    assert_eq!(Key::generate().save(&path), Err(KeyError::Exists(path.clone())));
    assert_eq!(Key::load(&path).unwrap().address(), first.address());
}

#[test]
fn what_is_no_key_is_refused_and_not_repeated() {
    let check = |text: &str, code: &str| {
        let error = Key::from_hex(text).unwrap_err();
        assert_eq!(error.code(), code, "{text}");
        assert!(text.len() < 8 || !error.to_string().contains(text), "{error}");
    };
    check("", "DAEE-S010");
    check("0x", "DAEE-S010");
    check(&"1".repeat(63), "DAEE-S010");
    check(&"1".repeat(65), "DAEE-S010");
    check(&"g".repeat(64), "DAEE-S010");
    check(&format!("0x0x{}", "1".repeat(62)), "DAEE-S010");
    check(&"0".repeat(64), "DAEE-S011");
    check(ORDER, "DAEE-S011");
    check(&"f".repeat(64), "DAEE-S011");
}

#[test]
fn a_file_that_holds_no_key_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let check = |bytes: Option<&[u8]>, code: &str| {
        let path = dir.path().join("operator.key");
        if let Some(bytes) = bytes {
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        assert_eq!(Key::load(&path).unwrap_err().code(), code);
    };
    check(None, "DAEE-S012");
    check(Some(b""), "DAEE-S010");
    check(Some(&[0xff; 64]), "DAEE-S010");
    check(Some("1".repeat(1 << 20).as_bytes()), "DAEE-S010");
    assert_eq!(Key::load(dir.path()).unwrap_err().code(), "DAEE-S015");
}

#[test]
fn a_key_shows_its_address_only() {
    let secret = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
    let key = Key::from_hex(secret).unwrap();
    assert_eq!(format!("{key:?}"), "Key(0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266)");
    assert_eq!(format!("{key:#?}"), format!("{key:?}"));
}

/// `a - b` of two big-endian numbers.
fn minus(a: Word, b: Word) -> Word {
    let mut out = [0; 32];
    let mut borrow = 0;
    for i in (0..32).rev() {
        let digit = i16::from(a[i]) - i16::from(b[i]) - borrow;
        borrow = i16::from(digit < 0);
        out[i] = digit.rem_euclid(256) as u8;
    }
    out
}
