use daee_artifact::{Artifact, RunStyle};
use daee_policy::Policy;
use daee_runtime::{
    Agent, Event, Launch, Limits, Module, Nothing, Outcome, Runtime, RuntimeConfig, Snapshot, fuzz,
};
use daee_types::{ArtifactHash, ByteSize};

const QUOTA: ByteSize = ByteSize::kib(16);
const GUEST: &str = r#"(module (memory (export "memory") 1) (global (mut i64) (i64.const 0))
    (func (export "_start")) (func (export "daee_turn") (result i32) (i32.const 0)))"#;
const STYLES: [RunStyle; 3] = [RunStyle::Reactor, RunStyle::Resident, RunStyle::PerEvent];

fn limits() -> Limits {
    Limits {
        memory_max: ByteSize::kib(128),
        // Nobody is waited for: a cell that has said all closes its link.
        wall_turn_millis: 5_000,
        door_calls_max: 50,
        door_frame_max: ByteSize::kib(8),
        log_turn_max: ByteSize::kib(1),
        ..Limits::default()
    }
}

thread_local! {
    static MODULES: (Runtime, [Module; 3]) = {
        let runtime = Runtime::new(RuntimeConfig::in_process()).expect("it needs nothing");
        let module = |style| {
            let bytes = wat::parse_str(GUEST).expect("it is WebAssembly text");
            let hash = ArtifactHash::of(&bytes);
            let artifact = Artifact::fetched(bytes).verify(&hash).expect("it is its hash");
            runtime.prepare(&artifact, Some(style)).expect("it is a good module")
        };
        let modules = STYLES.map(module);
        (runtime, modules)
    };
}

/// The input as a message, and as what a cell says in two turns of an agent: neither breaks its supervisor, and
/// what is kept of it is what a good cell could have done.
pub fn run(input: &[u8]) -> bool {
    let read = fuzz::message(input);
    let Some((style, rest)) = input.split_first() else { return read };
    let (first, second) = rest.split_at(rest.len() / 2);
    MODULES.with(|(runtime, modules)| {
        let module = modules[usize::from(*style) % 3].clone();
        let lines = ["read_ipfs", "publish_to_chain", "network_outbound:api.example.org"];
        let policy = Policy::new(lines.map(|line| (line.parse().unwrap(), 0)).into());
        let launch = Launch {
            limits: limits(),
            policy,
            snapshot: Snapshot::new(QUOTA),
            quota: QUOTA,
            ..Launch::new(module)
        };
        let mut agent = Agent::start(runtime, launch, Box::new(Nothing::default()))
            .expect("the guest fits its limits");
        let mut kept = false;
        for script in [first, second] {
            let before = agent.state().clone();
            let turned = fuzz::turn(&mut agent, &limits(), Event::Start, script.to_vec());
            assert!(turned.outcome != Outcome::Wall, "it was waited for");
            assert!(turned.fuel <= limits().fuel_turn, "more fuel than a turn has");
            let state = agent.state();
            assert!(state.used() <= QUOTA, "more state than its quota");
            if let Some(machine) = state.machine() {
                let pages = u64::from(machine.page_count()) * daee_state::PAGE_BYTES as u64;
                assert!(pages <= limits().memory_max.0, "more memory than its limit");
            }
            if turned.outcome.is_kept() {
                kept = true;
            } else {
                assert!(*state == before, "{} leaves something", turned.outcome);
                assert!(turned.answer.is_none() && turned.effects.is_empty());
            }
            let whole = agent.snapshot();
            let again = Snapshot::decode(&whole).expect("it reads what it wrote");
            assert!(again.encode() == whole, "a snapshot is written in two ways");
        }
        read || kept
    })
}

pub fn seeds() -> Vec<Vec<u8>> {
    // A turn that ends well, without and with pages; a call; an answer told of; what has no place.
    let done = [7, 0, 1, 9, 0, 0, 0];
    let paged =
        [7, 0, 1, 9, 0, 0, 1, 1, 32, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 7];
    let call = [
        40, 0, 1, 5, 12, b'{', b'"', b'k', b'e', b'y', b'"', b':', b'"', b'a', b'"', b'}', b' ', 1,
        b'x', 2,
    ];
    let two = |style: u8, turn: &[u8]| [&[style], turn, turn].concat();
    vec![
        two(0, &done),
        two(1, &done),
        two(2, &done),
        two(0, &paged),
        two(0, &[&call[..], &done].concat()),
        two(1, &[3, 4, 1, 7]),
        vec![2],
        vec![3],
    ]
}
