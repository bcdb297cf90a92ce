use daee_artifact::package;

pub fn run(input: &[u8]) -> bool {
    let Ok(read) = package::read(input) else { return false };
    let artifact = input
        .windows(read.artifact_cid.to_bytes().len())
        .position(|window| window == read.artifact_cid.to_bytes());
    assert!(artifact.is_some());
    true
}

pub fn seeds() -> Vec<Vec<u8>> {
    vec![package::write(b"\0asm\x01\0\0\0", b"{}", b"a: b\n").expect("small parts are a package")]
}
