//! An agent that handles events as an input says, and what must hold of any such life.

use std::ops::ControlFlow;

use daee_artifact::{Artifact, RunStyle};
use daee_policy::Policy;
use daee_runtime::{
    Agent, Event, Launch, Limits, Module, Nothing, Outcome, Recording, Runtime, RuntimeConfig,
    Snapshot, replay,
};
use daee_types::{ArtifactHash, ByteSize, DeploymentId, EpochId, Timestamp};

const NOW: Timestamp = Timestamp(1_700_000_000_000);
const QUOTA: ByteSize = ByteSize::kib(32);

/// A guest that is compiled once.
pub struct Guest {
    runtime: Runtime,
    module: Module,
}

impl Guest {
    pub fn new(wat: &str, style: RunStyle) -> Self {
        let runtime = Runtime::new(RuntimeConfig::in_process()).expect("it needs nothing");
        let bytes = wat::parse_str(wat).expect("it is WebAssembly text");
        let hash = ArtifactHash::of(&bytes);
        let artifact = Artifact::fetched(bytes).verify(&hash).expect("it is its hash");
        let module = runtime.prepare(&artifact, Some(style)).expect("it is a good module");
        Self { runtime, module }
    }

    /// Handles a request with each of the bodies; whether a turn of them is kept.
    ///
    /// # Panics
    /// When a turn ends as none of a good guest does, when more is kept than may be, or when it runs again
    /// and comes to something else.
    pub fn lives(&self, bodies: &[&[u8]]) -> bool {
        self.recorded(bodies).0
    }

    /// The same, and the recording of it.
    pub fn recorded(&self, bodies: &[&[u8]]) -> (bool, Recording) {
        let lines = ["read_ipfs", "publish_to_chain", "network_outbound:api.example.org"];
        let launch = Launch {
            limits: Limits {
                fuel_turn: 50_000_000,
                wall_turn_millis: 600_000,
                memory_max: ByteSize::mib(8),
                door_calls_max: 200,
                log_turn_max: ByteSize::kib(2),
                ..Limits::default()
            },
            policy: Policy::new(lines.map(|line| (line.parse().unwrap(), 0)).into()),
            snapshot: Snapshot::new(QUOTA),
            quota: QUOTA,
            ..Launch::new(self.module.clone())
        };
        let outside = Box::new(Nothing(NOW));
        let agent = Agent::start(&self.runtime, launch.clone(), outside);
        let mut agent = agent.expect("the guest fits its limits");
        let mut recording = Recording::begin(&mut agent, DeploymentId(1), EpochId::new([2; 32]));
        let mut kept = false;
        for body in bodies {
            let event = Event::Http {
                method: "POST".into(),
                path: "/".into(),
                query: String::new(),
                headers: Vec::new(),
                body: body.to_vec(),
            };
            let turned = agent.turn(event, NOW);
            let ends = matches!(turned.outcome, Outcome::Done | Outcome::Fuel);
            assert!(ends, "a guest that does no harm ends of {}", turned.outcome);
            kept |= turned.outcome.is_kept();
            assert!(agent.state().used() <= QUOTA, "more state than its quota");
            recording.extend([&turned.commit], agent.marks());
        }
        let whole = agent.snapshot();
        let again = Snapshot::decode(&whole).expect("it reads what it wrote");
        assert!(again.encode() == whole, "a snapshot is written in two ways");
        let read = Recording::decode(&recording.encode()).expect("it reads what it wrote");
        assert!(read == recording, "a recording is written in two ways");
        if let Err(error) = replay(&self.runtime, launch, &read, |_| ControlFlow::Continue(())) {
            panic!("it runs again as something else: {error}");
        }
        (kept, recording)
    }
}
