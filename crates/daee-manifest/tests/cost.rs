//! What hostile input costs in memory. `cargo run --release --example cost` says what it costs in time.

mod hostile;

use daee_manifest::Manifest;
use daee_types::ArtifactHash;
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

const BYTES_MAX: usize = 16 << 20;

// The only test in here: what others allocate beside it would be counted, too.
#[test]
fn nothing_hostile_takes_more_than_16_mib() {
    let mut worst = (0, "");
    let hostile = hostile::all();
    assert!(hostile.len() > 60, "{} inputs", hostile.len());
    for (name, yaml) in &hostile {
        let before = ALLOCATED.current_usage();
        ALLOCATED.reset_peak_usage();
        let problems = Manifest::read(yaml).expect_err("it is no manifest");
        let body = Manifest::from_body(yaml, &ArtifactHash::of(b"")).expect_err("it is no body");
        let peak = ALLOCATED.peak_usage() - before;
        assert!(peak < BYTES_MAX, "{name} takes {peak} bytes");
        for problems in [problems, body] {
            let said: usize = problems.iter().map(|problem| problem.message.len()).sum();
            assert!(said < 1 << 20, "{name}: {said} bytes of messages");
        }
        worst = worst.max((peak, name));
    }
    println!("{} inputs, at most {} KiB for {}", hostile.len(), worst.0 >> 10, worst.1);
    assert!(worst.0 > 64 << 10, "something was counted");
}
