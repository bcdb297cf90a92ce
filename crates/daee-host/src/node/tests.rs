use daee_types::{ByteSize, MilliCpu};

use super::*;

const ME: Address = Address([1; 20]);
const OTHER: Address = Address([2; 20]);
const JOB: DeploymentId = DeploymentId(7);
const V1: Version =
    Version { number: 1, artifact: ArtifactHash::new([1; 32]), body: BodyHash::new([1; 32]) };
const V2: Version =
    Version { number: 2, artifact: ArtifactHash::new([2; 32]), body: BodyHash::new([2; 32]) };
const EPOCH: EpochId = EpochId::new([9; 32]);
const ROOT: StateRoot = StateRoot::new([5; 32]);
const START: Timestamp = Timestamp(1_000_000_000);

#[test]
fn a_node_bids_only_with_the_verified_bytes_in_hand() {
    let mut world = World::new();
    let first = world.seen(bidding());
    assert_eq!(first, [Effect::Read { id: JOB, version: V1, state_root: StateRoot::ZERO }]);
    assert_eq!(world.clock(100), [], "nothing is offered while the package is being read");
    let bid = world.event(Event::Read { id: JOB, version: V1, ready: true });
    assert_eq!(
        bid,
        [Effect::Call(Call::Bid {
            id: JOB,
            rate: Rate(250),
            manifest: ManifestHash::of(&V1.artifact, &V1.body)
        })]
    );
}

#[test]
fn a_node_that_cannot_read_the_package_does_not_bid() {
    let mut world = World::new();
    world.seen(bidding());
    assert_eq!(world.event(Event::Read { id: JOB, version: V1, ready: false }), []);
    assert_eq!(world.clock(500), []);
}

#[test]
fn a_node_never_bids_above_the_tenants_maximum() {
    let mut world = World::new();
    assert_eq!(world.seen(View { rate_max: Rate(249), ..bidding() }), []);
}

#[test]
fn a_node_never_bids_where_its_anchors_would_come_too_late() {
    let mut world = World::new();
    assert_eq!(world.seen(View { interval_millis: 4_999, ..bidding() }), []);
}

#[test]
fn a_node_does_not_bid_for_what_it_cannot_hold() {
    let mut world = World::new();
    let large = Resources { memory: ByteSize::gib(64), ..bidding().resources };
    world.seen(View { resources: large, rate_max: Rate(u128::MAX), ..bidding() });
    assert_eq!(world.event(Event::Read { id: JOB, version: V1, ready: true }), []);
}

#[test]
fn a_better_bid_is_beaten_by_one_percent_or_left_alone() {
    for (best, beaten) in [(251, false), (252, false), (253, true)] {
        let mut world = World::new();
        let mut view = bidding();
        view.lease.node = OTHER;
        view.lease.rate = Rate(best);
        world.seen(view);
        let effects = world.event(Event::Read { id: JOB, version: V1, ready: true });
        assert_eq!(!effects.is_empty(), beaten, "best bid {best}");
    }
}

#[test]
fn capacity_of_a_lost_auction_is_free_again() {
    let mut world = World::new();
    world.seen(bidding());
    world.event(Event::Read { id: JOB, version: V1, ready: true });
    let all = settings().capacity;
    assert_ne!(world.node.free(), all);
    let mut lost = leased();
    lost.lease.node = OTHER;
    world.seen(lost);
    assert_eq!(world.node.free(), all);
}

#[test]
fn the_first_leaf_is_anchored_and_opened_at_once() {
    let mut world = World::new();
    let leaf = world.run_to_first_leaf();
    assert_eq!((leaf.0.seq, leaf.0.pre_root, leaf.0.state_root), (1, StateRoot::ZERO, ROOT));
    assert_eq!(leaf.0.covered_seconds, 0, "nothing was credited before the first anchor");
    let opened = world.done(Call::Anchor { leaves: vec![leaf] });
    assert_eq!(opened, [Effect::Call(Call::Open { leaf, among: vec![leaf] })]);
}

#[test]
fn a_number_is_saved_before_its_leaf_is_sent() {
    let mut world = World::new();
    world.seen(leased());
    world.event(Event::Started { id: JOB, epoch: EPOCH, running: Some(V1) });
    let effects = world.event(sealed(ROOT));
    let saved = effects.iter().position(|e| matches!(e, Effect::Save(r) if r.seq == 1));
    let sent = effects.iter().position(|e| matches!(e, Effect::Call(Call::Anchor { .. })));
    assert!(saved.unwrap() < sent.unwrap());
}

#[test]
fn leaves_of_a_failed_anchor_are_never_sent_again() {
    let mut world = World::new();
    let leaf = world.run_to_first_leaf();
    world.event(Event::Called {
        call: Call::Anchor { leaves: vec![leaf] },
        outcome: CallOutcome::Failed,
    });
    world.clock(2_000);
    let effects = world.event(sealed(ROOT));
    let next = anchored(&effects).expect("a new round anchors again");
    assert_eq!((next.0.seq, next.0.prev_leaf_hash), (2, leaf.0.leaf_hash()));
}

#[test]
fn a_lost_lease_is_released_and_forgotten() {
    let mut world = World::new();
    world.run_to_first_leaf();
    let mut lost = bidding();
    lost.state_root = ROOT;
    let effects = world.seen(lost);
    assert!(effects.contains(&Effect::Release(JOB)), "{effects:?}");
    assert!(effects.contains(&Effect::Forget(JOB)), "{effects:?}");
    let late = world.event(sealed(ROOT));
    assert!(anchored(&late).is_none(), "a leaf of a lost lease is not anchored");
}

#[test]
fn a_node_that_cannot_see_the_chain_stops_answering_before_another_may_start() {
    let mut world = World::new();
    world.run_to_first_leaf();
    let patience = leased().interval_millis + leased().grace_millis;
    assert!(!world.clock(patience).contains(&Effect::Release(JOB)));
    assert!(world.clock(1).contains(&Effect::Release(JOB)));
    let back = world.seen(leased());
    assert_eq!(back, [], "it waits a moment before it starts again");
    world.clock(2_000);
    let again = world.seen(leased());
    assert_eq!(again, [Effect::Start { id: JOB, epoch: EPOCH, version: V1, from: From::Kept }]);
}

#[test]
fn after_a_restart_a_lease_is_taken_up_only_if_the_chain_still_says_so() {
    let record =
        Record { id: JOB, epoch: EPOCH, seq: 3, leaf: LeafHash::new([3; 32]), version: V1 };
    let (mut node, effects) = Node::new(settings(), vec![record], START);
    assert_eq!(effects, [Effect::Look(JOB)]);
    assert_eq!(node.step(START, Event::Clock), [], "nothing runs before the chain has spoken");
    let kept = node.step(START, Event::Seen(leased()));
    assert_eq!(kept, [Effect::Start { id: JOB, epoch: EPOCH, version: V1, from: From::Kept }]);

    let (mut node, _) = Node::new(settings(), vec![record], START);
    let mut moved = leased();
    moved.lease.node = OTHER;
    moved.lease.epoch = EpochId::new([10; 32]);
    let gone = node.step(START, Event::Seen(moved));
    assert!(gone.contains(&Effect::Forget(JOB)), "{gone:?}");
    assert!(!gone.iter().any(|e| matches!(e, Effect::Start { .. })), "{gone:?}");
}

#[test]
fn a_successor_starts_from_the_last_opened_root() {
    let mut world = World::new();
    let effects = world.seen(View { state_root: ROOT, ..leased() });
    let start = Effect::Start { id: JOB, epoch: EPOCH, version: V1, from: From::Root(ROOT) };
    assert!(effects.contains(&start), "{effects:?}");
}

#[test]
fn a_stopped_lease_seals_opens_and_finishes() {
    let mut world = World::new();
    world.run_to_first_leaf();
    let first = world.first.unwrap();
    world.done(Call::Anchor { leaves: vec![first] });
    world.done(Call::Open { leaf: first, among: vec![first] });
    let mut ending = started();
    ending.phase = ChainPhase::Closing;
    ending.lease.end_time = Some(START);
    ending.state_root = ROOT;
    let effects = world.seen(ending.clone());
    assert!(effects.iter().any(|e| matches!(e, Effect::Seal { last: true, .. })), "{effects:?}");
    let end_root = StateRoot::new([6; 32]);
    let effects = world.event(sealed(end_root));
    let last = anchored(&effects).expect("the final leaf is anchored");
    assert_eq!((last.0.seq, last.0.pre_root), (2, ROOT));
    let effects = world.done(Call::Anchor { leaves: vec![last] });
    assert_eq!(effects, [Effect::Call(Call::Open { leaf: last, among: vec![last] })]);
    let effects = world.done(Call::Open { leaf: last, among: vec![last] });
    assert_eq!(effects, [Effect::Call(Call::Finish { id: JOB })]);
}

#[test]
fn an_update_that_fails_leaves_the_old_version_and_is_not_tried_again() {
    let mut world = World::new();
    world.run_to_first_leaf();
    let first = world.first.unwrap();
    world.done(Call::Anchor { leaves: vec![first] });
    world.done(Call::Open { leaf: first, among: vec![first] });
    let wanted = View { pending: Some(V2), ..started() };
    let effects = world.seen(wanted.clone());
    assert!(effects.contains(&Effect::Upgrade { id: JOB, epoch: EPOCH, version: V2 }));
    world.event(Event::Upgraded { id: JOB, epoch: EPOCH, tried: V2, switched: false });
    let again = world.seen(wanted);
    assert!(!again.iter().any(|e| matches!(e, Effect::Upgrade { .. })), "{again:?}");
}

#[test]
fn an_agent_that_ends_over_an_update_is_started_again_whichever_is_told_first() {
    let tried = Event::Upgraded { id: JOB, epoch: EPOCH, tried: V2, switched: false };
    let ended = Event::Sealed { id: JOB, epoch: EPOCH, marks: None };
    for told in [[tried.clone(), ended.clone()], [ended, tried]] {
        let mut world = World::new();
        world.run_to_first_leaf();
        let first = world.first.unwrap();
        world.done(Call::Anchor { leaves: vec![first] });
        world.done(Call::Open { leaf: first, among: vec![first] });
        let wanted = View { pending: Some(V2), ..started() };
        world.seen(wanted.clone());
        for event in told {
            world.event(event);
        }
        world.now = world.now.plus_millis(RETRY_MILLIS);
        let effects = world.seen(wanted);
        let again = Effect::Start { id: JOB, epoch: EPOCH, version: V1, from: From::Kept };
        assert!(effects.contains(&again), "{effects:?}");
    }
}

#[test]
fn a_version_that_was_switched_to_but_lapsed_goes_back_to_the_last_opened_root() {
    let mut world = World::new();
    world.run_to_first_leaf();
    let first = world.first.unwrap();
    world.done(Call::Anchor { leaves: vec![first] });
    world.done(Call::Open { leaf: first, among: vec![first] });
    world.seen(View { pending: Some(V2), ..started() });
    world.event(Event::Upgraded { id: JOB, epoch: EPOCH, tried: V2, switched: true });
    let lapsed = View { state_root: ROOT, ..started() };
    let effects = world.seen(lapsed);
    let back = Effect::Start { id: JOB, epoch: EPOCH, version: V1, from: From::Root(ROOT) };
    assert!(effects.contains(&back), "{effects:?}");
}

#[test]
fn a_silent_lease_of_another_node_is_expired_after_a_second_look() {
    let mut world = World::new();
    let mut view = started();
    view.lease.node = OTHER;
    world.seen(view.clone());
    let over = view.expires().plus_millis(1_000);
    world.now = world.now.plus_millis(60_000);
    let look = world.event(Event::Contact { chain: over });
    assert_eq!(look, [Effect::Look(JOB)]);
    let effects = world.seen(View { at: over, ..view });
    assert_eq!(effects, [Effect::Call(Call::Expire { id: JOB })]);
}

#[test]
fn a_lease_that_is_anchored_in_time_is_never_expired() {
    let mut world = World::new();
    let mut view = started();
    view.lease.node = OTHER;
    world.seen(view.clone());
    world.now = world.now.plus_millis(60_000);
    let over = view.expires().plus_millis(1_000);
    world.event(Event::Contact { chain: over });
    view.lease.last_anchor = over;
    assert_eq!(world.seen(View { at: over, ..view }), []);
}

/// Drives one node by hand; what it returns is what the node wants done.
struct World {
    node: Node,
    now: Timestamp,
    first: Option<Leaf>,
}

impl World {
    fn new() -> Self {
        Self { node: Node::new(settings(), Vec::new(), START).0, now: START, first: None }
    }
    fn event(&mut self, event: Event) -> Vec<Effect> {
        self.node.step(self.now, event)
    }
    fn seen(&mut self, view: View) -> Vec<Effect> {
        self.event(Event::Seen(view))
    }
    fn clock(&mut self, later_millis: u64) -> Vec<Effect> {
        self.now = self.now.plus_millis(later_millis);
        self.event(Event::Clock)
    }
    fn done(&mut self, call: Call) -> Vec<Effect> {
        let outcome = CallOutcome::Done { block: [8; 32], at: self.now };
        let mut effects = self.event(Event::Called { call, outcome });
        effects.retain(|e| !matches!(e, Effect::Look(_)));
        effects
    }
    fn run_to_first_leaf(&mut self) -> Leaf {
        self.seen(leased());
        self.event(Event::Started { id: JOB, epoch: EPOCH, running: Some(V1) });
        let effects = self.event(sealed(ROOT));
        let leaf = anchored(&effects).expect("a leaf is anchored");
        self.first = Some(leaf);
        leaf
    }
}

fn anchored(effects: &[Effect]) -> Option<Leaf> {
    effects.iter().find_map(|effect| match effect {
        Effect::Call(Call::Anchor { leaves }) => leaves.first().copied(),
        _ => None,
    })
}

fn sealed(state_root: StateRoot) -> Event {
    let marks = Marks {
        turn: 1,
        state_root,
        log_root: LogRoot::new([1; 32]),
        transcript_root: TranscriptRoot::new([1; 32]),
        fuel: 10,
        artifact: V1.artifact,
    };
    Event::Sealed { id: JOB, epoch: EPOCH, marks: Some(marks) }
}

fn settings() -> Settings {
    Settings {
        account: ME,
        capacity: Resources { cpu: MilliCpu(2000), memory: ByteSize::gib(4), gpu: 0 },
        price: Price { cpu: Rate(1000), memory_gib: Rate(0) },
        bid_wait_millis: 0,
        anchor_interval_millis: 5_000,
        open_every_millis: 60_000,
        settle_every_millis: 60_000,
        runtime_version: 1,
    }
}

fn bidding() -> View {
    View {
        id: JOB,
        phase: ChainPhase::Bidding,
        resources: Resources { cpu: MilliCpu(250), memory: ByteSize::mib(256), gpu: 0 },
        rate_max: Rate(1_000),
        interval_millis: 5_000,
        grace_millis: 5_000,
        start_window_millis: 20_000,
        open_window_millis: 20_000,
        bids_close: START.plus_millis(10_000),
        version: V1,
        pending: None,
        state_root: StateRoot::ZERO,
        lease: LeaseView {
            node: Address::ZERO,
            epoch: EpochId::ZERO,
            rate: Rate(0),
            assigned_at: Timestamp(0),
            started_at: None,
            end_time: None,
            seq: 0,
            last_anchor: Timestamp(0),
            covered: 0,
        },
        at: START,
    }
}

fn leased() -> View {
    let mut view = View { phase: ChainPhase::Leased, ..bidding() };
    view.lease.node = ME;
    view.lease.epoch = EPOCH;
    view.lease.rate = Rate(250);
    view.lease.assigned_at = START;
    view
}

fn started() -> View {
    let mut view = leased();
    view.lease.started_at = Some(START);
    view.lease.last_anchor = START;
    view.lease.seq = 1;
    view
}
