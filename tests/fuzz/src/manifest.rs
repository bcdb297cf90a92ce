use daee_manifest::{Manifest, Problem};
use daee_types::ArtifactHash;
use serde_json::Value;

pub fn run(input: &[u8]) -> bool {
    let body = from_body(input);
    match Manifest::read(input) {
        Ok(manifest) => {
            reads_back(&manifest);
            means_the_same_to_serde_yaml(&manifest, input);
            true
        }
        Err(problems) => {
            stand_in_the_text(&problems, input);
            body
        }
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let yaml = include_bytes!("../../../docs/examples/oracle/agent.yaml").to_vec();
    let manifest = Manifest::read(&yaml).expect("the example is a manifest");
    let every_field = concat!(
        "agent_id: a.b@v1.0.0-rc.1\ndescription: 'it''s'\ncompliance: [TIP-3]\nresources: {cpu: 250m, memory: 1GiB, ",
        "gpu: \"2\", storage: 1MB}\nentry_point: a/b.wasm\nartifact_hash: sha256:93a44bbb96c751218e4c00d479e4c1435812",
        "2a389acca16205b1e4d0dc5f9476\npermissions:\n- network_outbound:*.example.org:8443\n- network_outbound_ip:",
        "203.0.113.0/24:443\n- a2a_call:a.b\n- deploy:50\nrun: per-event\nschedule: \"*/5 * * * *\"\nenv:\n  A: |-\n    ",
        "two\n    lines\n  B: >+\n    folded\n\n  C: \"\\u00e4\\n\\\n    x\"\nsecrets: [key]\nargs: [-v, \"a b\"]\n",
        "durability: turn\nendpoint: private\nsla: {heartbeat: 60s, grace: 30s}\na2a: {price: Says it}\n",
    );
    vec![yaml, manifest.canonical_body().into(), every_field.into()]
}

/// Whether it is a canonical body.
fn from_body(input: &[u8]) -> bool {
    match Manifest::from_body(input, &ArtifactHash::of(b"any")) {
        Ok(manifest) => {
            assert_eq!(manifest.canonical_body().as_bytes(), input, "another body than was read");
            true
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            false
        }
    }
}

fn reads_back(manifest: &Manifest) {
    let body = manifest.canonical_body();
    let back = Manifest::from_body(body.as_bytes(), manifest.artifact_hash())
        .unwrap_or_else(|problems| panic!("its canonical body is refused: {problems:?}"));
    assert_eq!(back.canonical_body(), body);
    assert_eq!(back.manifest_hash(), manifest.manifest_hash());
    assert_eq!(back.agent_id(), manifest.agent_id());
    assert_eq!(back.resources(), manifest.resources());
    assert_eq!(back.env(), manifest.env());
    let permissions = |manifest: &Manifest| -> Vec<_> {
        manifest.permissions().iter().map(|listed| listed.permission.clone()).collect()
    };
    assert_eq!(permissions(&back), permissions(manifest));
}

/// Whatever both readers take means the same to both.
fn means_the_same_to_serde_yaml(manifest: &Manifest, input: &[u8]) {
    let Ok(mut theirs) = serde_yaml::from_slice::<Value>(input) else { return };
    let fields = theirs.as_object_mut().expect("a manifest is a map");
    fields.remove("artifact_hash");
    let ours: Value = serde_json::from_str(manifest.canonical_body()).expect("it is JSON");
    assert_eq!(ours, theirs);
}

fn stand_in_the_text(problems: &[Problem], input: &[u8]) {
    assert!(!problems.is_empty(), "refused without a reason");
    let lines = input.split(|byte| *byte == b'\n').count() as u32;
    for problem in problems {
        let stands = (1..=lines).contains(&problem.line) && problem.column > 0;
        assert!(stands, "{problem} stands outside of {lines} lines");
    }
}
