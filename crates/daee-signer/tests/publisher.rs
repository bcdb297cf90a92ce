//! Who is believed to have signed a package, and what nobody can change about it.

use std::collections::BTreeMap;

use daee_signer::{
    Key,
    publisher::{
        ROTATIONS_MAX, SIGNATURE_FILE_BYTES_MAX, SIGNATURES_MAX, SignFileError, SignatureFile,
        SignatureFileError, SignedRotation, Trust, TrustError, signature_path,
    },
    recover,
};
use daee_types::{
    Address, Coded as _, Domain, ManifestHash, PackageStatement, Rotation, Sign as _, Signature,
};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

const DOMAIN: Domain = Domain { chain_id: 31337, manager: Address([7; 20]) };

/// Made with an implementation that is not ours; see the README beside it.
#[derive(Deserialize)]
struct Vectors {
    keys: BTreeMap<Address, String>,
    digests: Vec<DigestVector>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct DigestVector {
    market: Market,
    package: Option<Value>,
    rotation: Option<RotationJson>,
    struct_hash: String,
    digest: String,
    signer: Address,
    signature: Signature,
}

#[derive(Deserialize)]
struct RotationJson {
    agent: String,
    from: Address,
    to: Address,
    sequence: u64,
}

#[derive(Clone, Copy, Deserialize)]
struct Market {
    chain_id: u64,
    contract: Address,
}

impl Market {
    fn domain(&self) -> Domain {
        Domain { chain_id: self.chain_id, manager: self.contract }
    }
}

#[derive(Deserialize)]
struct Case {
    name: String,
    file: Value,
    expected: Value,
    market: Option<Market>,
    trust: TrustJson,
    want: Want,
}

#[derive(Deserialize)]
struct TrustJson {
    signers: Vec<Address>,
    threshold: u32,
    rotations: Vec<SignedRotation>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum Want {
    Problems { problems: Vec<String> },
    Signed { by: Vec<Address>, others: Vec<Address>, rotation: u64 },
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../vectors/publisher.json")).unwrap()
}

/// A package as signature files write it, read by the reader of signature files.
fn statement(package: &Value) -> PackageStatement {
    let file = json!({
        "format": "daee-signatures/1", "chain_id": 1, "contract": Address::ZERO,
        "package": package, "signatures": [],
    });
    SignatureFile::read(file.to_string().as_bytes()).unwrap().statement().clone()
}

fn key(n: u8) -> Key {
    Key::from_hex(&hex::encode([n; 32])).unwrap()
}

fn package() -> PackageStatement {
    PackageStatement {
        agent_id: "talos.oracle.price-eth@v1.2.0".to_owned(),
        manifest_hash: ManifestHash::new([3; 32]),
        cid: [&[1, 0x55, 0x12, 0x20][..], &[9; 32]].concat(),
    }
}

/// Signed by two, after one of them came in the place of another.
fn signed() -> SignatureFile {
    let mut file = SignatureFile::new(package(), DOMAIN);
    file.rotate(&key(1), &key(2)).unwrap();
    assert_eq!(file.sign(&key(2)), Ok(true));
    assert_eq!(file.sign(&key(3)), Ok(true));
    file
}

/// The first key, which has gone since, and the third.
fn trust() -> Trust {
    Trust::new(vec![key(1).address(), key(3).address()], 2, Vec::new()).unwrap()
}

#[test]
fn digests_and_signatures_are_those_of_another_implementation() {
    let Vectors { keys, digests, .. } = vectors();
    assert_eq!(digests.len(), 16);
    for vector in digests {
        let domain = vector.market.domain();
        let (hash, digest) = match (&vector.package, vector.rotation) {
            (Some(package), None) => {
                let statement = statement(package);
                (statement.struct_hash(), statement.digest(&domain))
            }
            (None, Some(RotationJson { agent, from, to, sequence })) => {
                let rotation = Rotation { agent, from, to, sequence };
                (rotation.struct_hash(), rotation.digest(&domain))
            }
            _ => panic!("a vector is of one type"),
        };
        assert_eq!(hex::encode(hash), vector.struct_hash);
        assert_eq!(hex::encode(digest), vector.digest);
        let key = Key::from_hex(&keys[&vector.signer]).unwrap();
        assert_eq!(key.sign(&digest), Ok(vector.signature));
        assert_eq!(recover(&digest, &vector.signature), Some(vector.signer));
    }
}

#[test]
fn files_are_judged_as_the_vectors_say() {
    let cases = vectors().cases;
    assert!(cases.len() >= 40);
    for Case { name, file, expected, market, trust, want } in cases {
        let file = SignatureFile::read(file.to_string().as_bytes()).unwrap();
        let trust = Trust::new(trust.signers, trust.threshold, trust.rotations).unwrap();
        let domain = market.map(|market| market.domain());
        let got = match file.judge(&statement(&expected), domain.as_ref(), &trust) {
            Ok(signed) => {
                Want::Signed { by: signed.by, others: signed.others, rotation: signed.rotation }
            }
            Err(problems) => Want::Problems {
                problems: problems.iter().map(|problem| problem.code().to_owned()).collect(),
            },
        };
        assert_eq!(got, want, "{name}");
        assert_eq!(SignatureFile::read(file.to_json().as_bytes()), Ok(file), "{name}");
    }
}

#[test]
fn a_problem_names_what_differs_and_what_to_do() {
    let mut other = package();
    other.agent_id = "talos.oracle.price-eth@v1.3.0".to_owned();
    let trust = Trust::new(vec![key(9).address()], 1, Vec::new()).unwrap();
    let problems = signed().judge(&other, Some(&Domain { chain_id: 1, ..DOMAIN }), &trust);
    let text: Vec<_> = problems.unwrap_err().iter().map(ToString::to_string).collect();
    for (at, parts) in [
        (
            0,
            [
                "agent_id is \"talos.oracle.price-eth@v1.2.0\"",
                "@v1.3.0\" here",
                "give the package's own",
            ],
        ),
        (1, ["chain 31337", "not for chain 1", "have the package signed"]),
        (2, [&key(2).address().to_string(), "not trusted", "add it to the signers"]),
        (3, [&key(3).address().to_string(), "not trusted", "add it to the signers"]),
        (4, ["0 of the trusted", "1 have to", "have more of them sign"]),
    ] {
        for part in parts {
            assert!(text[at].contains(part), "{part:?} is not in {:?}", text[at]);
        }
    }
    assert_eq!(text.len(), 5);
}

/// What the reader says of a file in which `from` became `to`.
fn check_file(from: &str, to: &str, want: Result<(), (&str, &str)>) {
    let text = signed().to_json();
    assert!(text.contains(from), "{from:?} is not in {text}");
    let got = SignatureFile::read(text.replacen(from, to, 1).as_bytes());
    match (got, want) {
        (Ok(_), Ok(())) => {}
        (Err(error), Err((code, part))) => {
            assert_eq!(error.code(), code, "{error}");
            assert!(error.to_string().contains(part), "{error}");
        }
        (got, want) => panic!("{to:?}: {got:?} is not {want:?}"),
    }
}

#[test]
fn a_file_has_the_keys_of_its_format_and_each_once() {
    let malformed = |part| Err(("DAEE-S021", part));
    check_file("{", " {\n", Ok(()));
    check_file("\"chain_id\"", "\"note\": 1, \"chain_id\"", malformed("unknown field `note`"));
    check_file("\"cid\"", "\"by\": 1, \"cid\"", malformed("unknown field `by`"));
    check_file("\"signer\"", "\"at\": 1, \"signer\"", malformed("unknown field `at`"));
    check_file("\"from\"", "\"why\": 1, \"from\"", malformed("unknown field `why`"));
    check_file(
        "\"chain_id\"",
        "\"chain_id\": 1, \"chain_id\"",
        malformed("duplicate field `chain_id`"),
    );
    check_file("\"cid\"", "\"cid\": \"bafy\", \"cid\"", malformed("lower-case base32"));
    check_file(
        "\"sequence\"",
        "\"sequence\": 1, \"sequence\"",
        malformed("duplicate field `sequence`"),
    );
    check_file("\"package\"", "\"packages\"", malformed("unknown field `packages`"));
    check_file("31337", "\"31337\"", malformed("invalid type"));
    check_file("31337", "-1", malformed("expected u64"));
    check_file("31337", "31337.0", malformed("expected u64"));
    check_file("31337", "18446744073709551616", malformed("expected u64"));
    check_file("daee-signatures/1", "daee-signatures/2", Err(("DAEE-S022", "daee-signatures/2")));
}

#[test]
fn what_follows_the_file_is_not_read_over() {
    let text = signed().to_json();
    for tail in ["{}", "x", "\0", ","] {
        let error = SignatureFile::read(format!("{text}{tail}").as_bytes()).unwrap_err();
        assert_eq!(error.code(), "DAEE-S021", "{tail:?}");
    }
    let error = SignatureFile::read(&text.as_bytes()[..text.len() - 3]).unwrap_err();
    assert!(matches!(error, SignatureFileError::Malformed { line: 20.., .. }), "{error}");
}

#[test]
fn a_value_has_one_text() {
    let malformed = |part| Err(("DAEE-S021", part));
    let address = key(2).address().to_string();
    let lower = address.to_lowercase();
    check_file(&address, &lower, Ok(()));
    check_file(&address, &format!("0x{}", lower[2..].to_uppercase()), malformed("in lower case"));
    check_file(&address, &lower[2..], malformed("0x and 40 hex digits"));
    check_file(&address, &lower.replacen("0x", "0X", 1), malformed("0x and 40 hex digits"));
    let manifest = "03".repeat(32);
    check_file(&manifest, &format!("0x{manifest}"), malformed("64 lower-case hex digits"));
    for bad in ["", "f", "bA", "b", "b=", "b1", "zb2rh", "bafkreie"] {
        check_file("\"bafkrei", &format!("\"{bad}\", \"x\": \""), malformed("lower-case base32"));
    }
    for bad in ["", "a b", "a\\u0000", "\u{e4}.b", "a\\u202e", &"a".repeat(257)] {
        check_file("talos.oracle.price-eth@v1.2.0", bad, malformed("1 to 256 visible ASCII"));
        check_file(
            "talos.oracle.price-eth\"",
            &format!("{bad}\""),
            malformed("1 to 256 visible ASCII"),
        );
    }
}

#[test]
fn a_signature_that_the_evm_would_not_read_is_none() {
    let file = signed();
    let good = file.signatures()[0].1;
    let check = |bytes: &[u8], part| {
        check_file(
            &good.to_string(),
            &format!("0x{}", hex::encode(bytes)),
            Err(("DAEE-S021", part)),
        );
    };
    check(&good.0[..64], "130 lower-case hex digits");
    check(&[&good.0[..], &[0]].concat(), "130 lower-case hex digits");
    for v in [0, 1, 26, 29] {
        check(&[&good.0[..64], &[v]].concat(), "high s");
    }
    // Half the order and one more: the smallest s that is a high one.
    let half = "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a1";
    check(&[&good.0[..32], &hex::decode(half).unwrap(), &[27]].concat(), "high s");
    check(&[&good.0[..32], &[0; 32][..], &[27]].concat(), "high s");
    check(&[&[0xff; 32][..], &good.0[32..]].concat(), "high s");
    let upper = good.to_string().to_uppercase().replacen("0X", "0x", 1);
    check_file(&good.to_string(), &upper, Err(("DAEE-S021", "130 lower-case hex digits")));
    check_file(&good.to_string(), &good.to_string()[2..], Err(("DAEE-S021", "130 lower-case")));
}

#[test]
fn a_file_has_a_bound_on_everything() {
    let large = vec![b' '; SIGNATURE_FILE_BYTES_MAX + 1];
    assert_eq!(SignatureFile::read(&large), Err(SignatureFileError::TooLarge));
    for (list, max) in [("signatures", SIGNATURES_MAX), ("rotations", ROTATIONS_MAX)] {
        let mut file: Value = serde_json::from_str(&signed().to_json()).unwrap();
        let one = file[list][0].clone();
        file[list] = vec![one.clone(); max].into();
        assert!(SignatureFile::read(file.to_string().as_bytes()).is_ok());
        file[list] = vec![one; max + 1].into();
        let error = SignatureFile::read(file.to_string().as_bytes()).unwrap_err();
        assert_eq!(error.code(), "DAEE-S023", "{error}");
    }
    let deep = "[".repeat(SIGNATURE_FILE_BYTES_MAX);
    assert_eq!(SignatureFile::read(deep.as_bytes()).unwrap_err().code(), "DAEE-S021");
}

#[test]
fn a_full_file_still_fits() {
    let mut file = SignatureFile::new(
        PackageStatement { agent_id: "\"".repeat(256), ..package() },
        Domain { chain_id: u64::MAX, ..DOMAIN },
    );
    for n in 1..=ROTATIONS_MAX as u8 {
        file.rotate(&key(n), &key(n + 1)).unwrap();
    }
    for n in 1..=SIGNATURES_MAX as u8 {
        assert_eq!(file.sign(&key(100 + n)), Ok(true));
    }
    let text = file.to_json();
    assert!(SignatureFile::read(text.as_bytes()).as_ref() == Ok(&file), "{}", text.len());
    assert_eq!(file.sign(&key(99)).unwrap_err().code(), "DAEE-S027");
    assert_eq!(file.rotate(&key(98), &key(99)).unwrap_err().code(), "DAEE-S027");
}

#[test]
fn who_signed_already_signs_no_second_time() {
    let mut file = signed();
    let before = file.clone();
    assert_eq!(file.sign(&key(3)), Ok(false));
    assert_eq!(file, before);
    // What stands there under the same name and is wrong gives way.
    let text = before.to_json().replace(&"03".repeat(32), &"04".repeat(32));
    let mut other = SignatureFile::read(text.as_bytes()).unwrap();
    assert_eq!(other.signers(), []);
    assert_eq!(other.sign(&key(3)), Ok(true));
    assert_eq!(other.signers(), [key(3).address()]);
    assert_eq!(other.signatures().len(), 2);
}

#[test]
fn a_rotation_takes_the_old_signature_out_and_no_key_comes_back() {
    let mut file = SignatureFile::new(package(), DOMAIN);
    file.sign(&key(1)).unwrap();
    file.rotate(&key(1), &key(2)).unwrap();
    assert_eq!(file.signers(), []);
    let error = file.sign(&key(1)).unwrap_err();
    assert_eq!(error.code(), "DAEE-S029");
    assert!(error.to_string().contains(&key(2).address().to_string()), "{error}");
    for (from, to) in [(1, 3), (2, 1), (2, 2), (3, 2), (3, 1)] {
        let error = file.rotate(&key(from), &key(to)).unwrap_err();
        assert!(matches!(error, SignFileError::Rotated { .. }), "{from} to {to}: {error}");
        assert_eq!(error.code(), "DAEE-S028");
    }
    file.rotate(&key(2), &key(3)).unwrap();
    assert_eq!(
        file.rotations().iter().map(|rotation| rotation.sequence).collect::<Vec<_>>(),
        [1, 2]
    );
}

#[test]
fn the_next_version_keeps_the_rotations_and_no_signature() {
    let next =
        PackageStatement { agent_id: "talos.oracle.price-eth@v2.0.0".to_owned(), ..package() };
    let mut file = signed().renewed(next.clone()).unwrap();
    assert_eq!(file.signatures(), []);
    file.sign(&key(2)).unwrap();
    file.sign(&key(3)).unwrap();
    assert!(file.judge(&next, Some(&DOMAIN), &trust()).is_ok());
    let other =
        PackageStatement { agent_id: "talos.oracle.price-btc@v1.2.0".to_owned(), ..package() };
    assert_eq!(signed().renewed(other), None);
}

#[test]
fn a_trust_in_nobody_or_in_one_twice_is_none() {
    let [a, b] = [key(1).address(), key(2).address()];
    let check = |signers: Vec<Address>, threshold, want: Result<(), TrustError>| {
        assert_eq!(Trust::new(signers, threshold, Vec::new()).map(drop), want);
    };
    check(vec![a, b], 2, Ok(()));
    check(vec![a, b], 0, Err(TrustError::Threshold { threshold: 0, signers: 2 }));
    check(vec![a, b], 3, Err(TrustError::Threshold { threshold: 3, signers: 2 }));
    check(vec![], 0, Err(TrustError::Threshold { threshold: 0, signers: 0 }));
    check(vec![a, b, a], 2, Err(TrustError::Twice(a)));
    check((0..33).map(|n| Address([n; 20])).collect(), 1, Err(TrustError::TooMany(33)));
}

#[test]
fn signatures_stand_beside_what_they_sign() {
    let check = |path: &str, folder, want: &str| {
        assert_eq!(signature_path(path.as_ref(), folder).to_str(), Some(want));
    };
    check("oracle", true, "oracle/agent.sig.json");
    check("oracle/agent.yaml", false, "oracle/agent.sig.json");
    check("out/price.v1.car", false, "out/price.v1.sig.json");
}

proptest! {
    #[test]
    fn no_byte_of_statement_or_signature_changes_unnoticed(at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let good = signed();
        prop_assert!(good.judge(&package(), Some(&DOMAIN), &trust()).is_ok());
        let mut bytes = good.to_json().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        // Whatever is still read and judged well says what it said before.
        if let Ok(file) = SignatureFile::read(&bytes)
            && file.judge(&package(), Some(&DOMAIN), &trust()).is_ok()
        {
            prop_assert_eq!(file, good, "byte {} changed", at);
        }
    }

    #[test]
    fn another_statement_has_another_digest(
        agent_id in ".{0,40}", hash in any::<[u8; 32]>(), cid in prop::collection::vec(any::<u8>(), 0..64),
        chain_id in any::<u64>(),
    ) {
        let statement = PackageStatement { agent_id, manifest_hash: ManifestHash::new(hash), cid };
        let mut others = vec![statement.clone(); 5];
        others[0].agent_id.push('0');
        others[1].cid.push(0);
        others[2].manifest_hash = ManifestHash::new(hash.map(|byte| byte ^ 1));
        // What one field ends with, the next begins with.
        others[3].agent_id.push_str("00");
        others[4].cid.insert(0, 0);
        let domain = Domain { chain_id, ..DOMAIN };
        for other in others {
            prop_assert_ne!(other.digest(&domain), statement.digest(&domain));
        }
        let elsewhere = Domain { chain_id: chain_id ^ 1, ..domain };
        prop_assert_ne!(statement.digest(&elsewhere), statement.digest(&domain));
    }

    #[test]
    fn the_reader_refuses_or_reads_back_what_it_writes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(file) = SignatureFile::read(&bytes) {
            prop_assert_eq!(SignatureFile::read(file.to_json().as_bytes()), Ok(file));
        }
    }

    #[test]
    fn pieces_of_a_file_in_any_order_are_refused_or_read_back(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..6),
    ) {
        let text = signed().to_json();
        let pieces = cuts.iter().map(|(a, b)| {
            let (a, b) = (a.index(text.len()), b.index(text.len()));
            &text[a.min(b)..a.max(b)]
        });
        let bent: String = pieces.collect();
        for text in [format!("{text}{bent}"), bent.clone(), text.replacen(&bent, "", 1)] {
            if let Ok(file) = SignatureFile::read(text.as_bytes()) {
                prop_assert_eq!(SignatureFile::read(file.to_json().as_bytes()), Ok(file));
            }
        }
    }
}
