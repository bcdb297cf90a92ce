use daee_signer::Key;
use daee_signer::publisher::{SignatureFile, Trust};
use daee_types::{Address, Domain, ManifestHash, PackageStatement};

/// Of no key that anybody has.
const STRANGER: Address = Address([0xab; 20]);

pub fn run(input: &[u8]) -> bool {
    let Ok(file) = SignatureFile::read(input) else { return false };
    let back = SignatureFile::read(file.to_json().as_bytes());
    assert_eq!(back.as_ref(), Ok(&file), "it is written another way than it was read");

    let signers = file.signers();
    let said: Vec<Address> = file.signatures().iter().map(|(by, _)| *by).collect();
    assert!(signers.iter().all(|signer| said.contains(signer)), "a signer that is not listed");
    let judged_by = |trusted: Address| {
        let trust = Trust::new(vec![trusted], 1, Vec::new()).expect("one of one signs");
        file.judge(file.statement(), None, &trust)
    };
    assert!(judged_by(STRANGER).is_err(), "whom nobody signs for is said to have signed");
    // One wrong signature, or one of a key that gave its place away, spoils the file.
    if let ([signer, ..], []) = (&signers[..], file.rotations())
        && signers.len() == said.len()
    {
        assert!(judged_by(*signer).is_ok(), "who signed is not said to have");
    }
    true
}

pub fn seeds() -> Vec<Vec<u8>> {
    let key = |byte: &str| Key::from_hex(&byte.repeat(32)).expect("it is a key");
    let (old, new, other) = (key("11"), key("22"), key("33"));
    let statement = PackageStatement {
        agent_id: "talos.oracle.price-eth@v1.2.0".to_owned(),
        manifest_hash: ManifestHash::new([7; 32]),
        cid: daee_artifact::Cid::of(b"\0asm\x01\0\0\0").to_bytes(),
    };
    let domain = Domain { chain_id: 31337, manager: Address([7; 20]) };
    let mut file = SignatureFile::new(statement, domain);
    let mut seeds = vec![file.to_json()];
    for key in [&old, &other] {
        file.sign(key).expect("a key signs");
        seeds.push(file.to_json());
    }
    file.rotate(&old, &new).expect("both keys sign");
    file.sign(&new).expect("a key signs");
    seeds.push(file.to_json());
    seeds.into_iter().map(String::into_bytes).collect()
}
