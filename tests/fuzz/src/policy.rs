use daee_verdict::{Name, Policy, Verdict, manifest};

pub fn run(input: &[u8]) -> bool {
    match Policy::read(input) {
        Ok(policy) => {
            hides_nothing_unread(&policy);
            true
        }
        Err(error) => {
            let lines = input.split(|byte| *byte == b'\n').count();
            let stands = (1..=lines).contains(&error.line) && error.column > 0;
            assert!(stands, "{error} stands outside of {lines} lines");
            assert!(!error.why.is_empty(), "refused without a reason");
            false
        }
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let address = |byte: &str| format!("0x{}", byte.repeat(20));
    let signatures = format!(
        "fail_on = \"warning\"\n[signatures]\nthreshold = 2\nsigners = [\"{}\", \"{}\"]\nchain_id = 31337\ncontract = \
         \"{}\"\n",
        address("11"),
        address("22"),
        address("33"),
    );
    let bounds = "[bounds]\npermissions = [\"network_outbound:*.example.org\"]\ncpu = \"250m\"\nmemory = '1GiB'\ngpu = \"0\"\n";
    let levels = "[levels]\n\"DAEE-V011\" = \"error\"\n\"DAEE-V010\" = \"off\" # why\n";
    vec![Vec::new(), signatures.into(), bounds.into(), levels.into()]
}

/// No policy makes a manifest of one that cannot be read, whatever levels it has.
fn hides_nothing_unread(policy: &Policy) {
    let mut report = manifest(Name::stdin(), &b"[no manifest"[..]);
    policy.apply(&mut report);
    assert!(report.verdict() != Verdict::Verified, "a policy hides what is unread");
}
