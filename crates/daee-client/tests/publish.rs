//! What it takes until a package is kept, place by place.

mod kit;

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use daee_client::{
    Authorization, Handed, Kept, Parcel, Patience, Place, Progress, PublishError, hand_out,
};
use daee_http::{Client, Roots};
use daee_testkit::{TempDir, closed_port};
use daee_types::{Address, Coded as _, Domain};

use kit::{
    Takes, TestNode,
    kubo::{Cutter, TestKubo, TestPinning},
};

const DOMAIN: Domain = Domain { chain_id: 31337, manager: Address([9; 20]) };
const QUICK: Patience = Patience {
    attempts_max: 3,
    pause: Duration::from_millis(1),
    pause_max: Duration::from_millis(2),
    poll_every: Duration::from_millis(1),
    pin_time: Duration::from_secs(20),
};

/// A packed agent whose module has some MiB, and the folder it lies in.
struct Packed {
    _folder: TempDir,
    parcel: Parcel,
    file: PathBuf,
}

fn packed(mib: usize) -> Packed {
    let folder = daee_testkit::folder();
    // No two blocks are the same.
    let filler: String =
        (0..mib << 20).map(|at| char::from(b'a' + (at >> 18) as u8 % 26)).collect();
    let module = format!(
        r#"(module (@custom "filler" "{filler}") (memory (export "memory") 1)
            (func (export "daee_turn") (result i32) (i32.const 0)))"#
    );
    fs::write(folder.path().join("a.wasm"), wat::parse_str(module).unwrap()).unwrap();
    let yaml = "agent_id: \"acme.agent@v1.0.0\"\nresources:\n  cpu: \"100m\"\n  memory: \"64MiB\"\n\
                entry_point: \"a.wasm\"\nartifact_hash: \"\"\n";
    fs::write(folder.path().join("agent.yaml"), yaml).unwrap();
    let daee_client::Packed { package, file, .. } = Parcel::pack(folder.path(), None).unwrap();
    Packed { _folder: folder, parcel: package, file }
}

async fn hand(parcel: &Parcel, places: &[Place]) -> Vec<Handed> {
    hand_told(parcel, places, &QUICK).await.0
}

/// What came of it, and what was told meanwhile.
async fn hand_told(
    parcel: &Parcel,
    places: &[Place],
    patience: &Patience,
) -> (Vec<Handed>, Vec<(usize, Progress)>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let on = told.clone();
    let on = move |place, progress| on.lock().unwrap().push((place, progress));
    let http = Client::new(&Roots::none()).unwrap();
    let handed = hand_out(&http, parcel, places, &[], patience, on).await;
    let told = std::mem::take(&mut *told.lock().unwrap());
    (handed, told)
}

fn kubo(url: String) -> Place {
    Place::Kubo { url, authorization: None }
}

fn pinning(service: &TestPinning) -> Place {
    Place::Pinning { url: service.url(), token: Authorization::bearer("t").unwrap() }
}

fn kept(handed: &Handed) -> Kept {
    handed.outcome.clone().unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test]
async fn several_places_are_each_for_themselves() {
    let (node, kubo_one) =
        (TestNode::start(Address([7; 20]), DOMAIN).await, TestKubo::start().await);
    let broken = TestNode::start(Address([8; 20]), DOMAIN).await;
    broken.say(|words| words.takes = Takes::Other);
    let service = TestPinning::start(&["pinned"]).await;
    let down = format!("http://{}", closed_port().await);
    let packed = packed(0);
    let places = [
        pinning(&service),
        Place::Node(node.url()),
        kubo(down),
        kubo(kubo_one.url()),
        Place::Node(broken.url()),
        Place::Node("ftp://x".to_owned()),
    ];
    let handed = hand(&packed.parcel, &places).await;
    let codes: Vec<_> = handed
        .iter()
        .map(|place| (place.kind, place.outcome.as_ref().err().map(|error| error.code())))
        .collect();
    assert_eq!(
        codes,
        [
            ("pin", None),
            ("node", None),
            ("kubo", Some("DAEE-I033")),
            ("kubo", None),
            ("node", Some("DAEE-U025")),
            ("node", Some("DAEE-U020")),
        ]
    );
    let error = handed[4].outcome.as_ref().unwrap_err().to_string();
    assert!(error.contains(&broken.url()) && error.contains(&kit::kubo::another()), "{error}");
    let size = packed.parcel.car().bytes();
    assert_eq!(kept(&handed[1]), Kept { bytes_sent: size, attempts: 1 });
    assert_eq!(kept(&handed[3]), Kept { bytes_sent: size, attempts: 1 });
}

#[tokio::test]
async fn what_a_place_has_is_not_sent_again() {
    let (node, kubo_one) =
        (TestNode::start(Address([7; 20]), DOMAIN).await, TestKubo::start().await);
    let service = TestPinning::start(&["pinned"]).await;
    let packed = packed(0);
    let places = [Place::Node(node.url()), kubo(kubo_one.url()), pinning(&service)];
    hand(&packed.parcel, &places).await;
    let again = hand(&packed.parcel, &places).await;
    for place in &again {
        assert_eq!(kept(place), Kept { bytes_sent: 0, attempts: 1 }, "{}", place.url);
    }
    assert_eq!(kubo_one.say(|shelf| shelf.imports.len()), 1);
    assert_eq!(service.say(|ledger| ledger.asked.len()), 3, "each root is asked for once");
}

#[tokio::test]
async fn an_import_that_was_cut_goes_on_where_it_broke_off() {
    let kubo_one = TestKubo::start().await;
    let line = Cutter::to(kubo_one.port(), 5 << 20, 1).await;
    let packed = packed(8);
    let (handed, told) = hand_told(&packed.parcel, &[kubo(line.url())], &QUICK).await;
    assert_eq!((kept(&handed[0]).attempts, line.cuts_left()), (2, 0));
    assert!(told.iter().any(|(_, told)| matches!(told, Progress::Again { .. })), "{told:?}");

    let (size, imports) =
        (packed.parcel.car().bytes(), kubo_one.say(|shelf| shelf.imports.clone()));
    let [first, second] = imports[..] else { panic!("{imports:?}") };
    // Three whole blocks of 1 MiB at least were there, and are not sent a second time.
    assert!(first < 5 << 20 && second < size - (3 << 20), "{imports:?} of {size}");
    assert_eq!(kubo_one.say(|shelf| shelf.pins.len()), 3);

    // From the package file it is the same.
    let other = TestKubo::start().await;
    let line = Cutter::to(other.port(), 5 << 20, 1).await;
    let parcel = Parcel::read(&packed.file).unwrap();
    kept(&hand(&parcel, &[kubo(line.url())]).await[0]);
    assert_eq!(other.say(|shelf| shelf.pins.clone()), kubo_one.say(|shelf| shelf.pins.clone()));
    let (mine, theirs) = (other.say(|s| s.blocks.clone()), kubo_one.say(|s| s.blocks.clone()));
    assert!(mine == theirs, "block by block");
}

#[tokio::test]
async fn a_place_that_lost_a_block_gets_all_of_it() {
    let kubo_one = TestKubo::start().await;
    let packed = packed(3);
    hand(&packed.parcel, &[kubo(kubo_one.url())]).await;
    // It collected its garbage: the pins are gone, and a block that came early.
    let root = packed.parcel.cid().to_string();
    let early = kubo_one.say(|shelf| {
        let first = daee_artifact::FileLayout::read(&shelf.blocks[&root]).unwrap();
        first.leaves().next().unwrap().0.to_string()
    });
    kubo_one.say(|shelf| {
        shelf.pins.clear();
        shelf.blocks.remove(&early);
    });
    kept(&hand(&packed.parcel, &[kubo(kubo_one.url())]).await[0]);
    assert_eq!(kubo_one.say(|shelf| (shelf.pins.len(), shelf.blocks.len())), (3, 7));
}

#[tokio::test]
async fn a_place_that_never_takes_it_is_left_after_as_many_tries_as_are_allowed() {
    let kubo_one = TestKubo::start().await;
    let line = Cutter::to(kubo_one.port(), 100, u64::MAX).await;
    let packed = packed(0);
    let handed = hand(&packed.parcel, &[kubo(line.url())]).await;
    let error = handed[0].outcome.clone().unwrap_err();
    assert!(error.to_string().contains(&line.url()), "{error}");
    assert_eq!(u64::MAX - line.cuts_left(), 3);

    kubo_one.say(|shelf| shelf.unavailable = 2);
    assert_eq!(kept(&hand(&packed.parcel, &[kubo(kubo_one.url())]).await[0]).attempts, 3);
    let fresh = TestKubo::start().await;
    fresh.say(|shelf| shelf.unavailable = 3);
    let handed = hand(&packed.parcel, &[kubo(fresh.url())]).await;
    assert_eq!(handed[0].outcome.as_ref().unwrap_err().code(), "DAEE-I034");
}

#[tokio::test]
async fn progress_is_told_in_bytes_and_blocks_up_to_the_end() {
    let kubo_one = TestKubo::start().await;
    let packed = packed(3);
    let (_, told) = hand_told(&packed.parcel, &[kubo(kubo_one.url())], &QUICK).await;
    let sent: Vec<_> = told
        .iter()
        .filter_map(|(_, told)| match told {
            Progress::Sending { sent, bytes, blocks } => Some((*sent, *bytes, *blocks)),
            _ => None,
        })
        .collect();
    assert!(sent.len() > 12, "a piece is small against the whole");
    assert!(sent.windows(2).all(|two| two[0].0.bytes < two[1].0.bytes));
    let (last, bytes, blocks) = *sent.last().unwrap();
    assert_eq!((last.bytes, last.blocks), (bytes, blocks));
    assert_eq!((bytes, blocks), (packed.parcel.car().bytes(), 7));
}

#[tokio::test]
async fn nodes_are_not_sent_what_they_do_not_take() {
    let node = TestNode::start(Address([7; 20]), DOMAIN).await;
    let handed = hand(&packed(2).parcel, &[Place::Node(node.url())]).await;
    let error = handed[0].outcome.as_ref().unwrap_err();
    assert!(matches!(error, PublishError::TooLarge { .. }), "{error}");
    assert!(error.to_string().contains("`--kubo`"), "{error}");
}

#[tokio::test]
async fn a_service_is_told_who_has_it_and_led_there() {
    let (kubo_one, service) =
        (TestKubo::start().await, TestPinning::start(&["queued", "pinning", "pinned"]).await);
    let packed = packed(2);
    let places = [pinning(&service), kubo(kubo_one.url())];
    let (handed, told) = hand_told(&packed.parcel, &places, &QUICK).await;
    assert_eq!(kept(&handed[0]).bytes_sent, 0);
    let asked = service.say(|ledger| ledger.asked.clone());
    let roots = packed.parcel.car().roots().map(|cid| cid.to_string());
    assert_eq!([0, 1, 2].map(|n| asked[n]["cid"].as_str().unwrap().to_owned()), roots);
    assert_eq!(asked[0]["name"], "acme.agent@v1.0.0 artifact");
    assert_eq!(asked[2]["meta"]["part"], "yaml");
    assert_eq!(asked[0]["origins"][0], "/ip4/192.0.2.1/tcp/4001/p2p/QmKubo");
    let to = "/ip4/192.0.2.2/tcp/4001/p2p/QmService";
    assert_eq!(kubo_one.say(|shelf| shelf.connected.clone()), [to]);
    let waits = told.iter().any(|(place, told)| {
        matches!(told, Progress::Waiting(what) if *place == 0 && what.contains("artifact: queued"))
    });
    assert!(waits, "{told:?}");
}

#[tokio::test]
async fn a_service_that_gives_up_or_takes_too_long_is_said_to() {
    let packed = packed(0);
    let service = TestPinning::start(&["queued", "failed"]).await;
    let handed = hand(&packed.parcel, &[pinning(&service)]).await;
    let error = handed[0].outcome.as_ref().unwrap_err();
    assert_eq!(error.code(), "DAEE-U061");
    for part in [&service.url(), &packed.parcel.cid().to_string(), "no peer has it"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    // What failed is asked for again, what is under way is not.
    service.say(|ledger| ledger.states = vec!["failed"]);
    hand(&packed.parcel, &[pinning(&service)]).await;
    assert_eq!(service.say(|ledger| ledger.asked.len()), 6);

    let slow = TestPinning::start(&["queued"]).await;
    let patience = Patience { pin_time: Duration::from_millis(50), ..QUICK };
    for _ in 0..2 {
        let (handed, _) = hand_told(&packed.parcel, &[pinning(&slow)], &patience).await;
        assert_eq!(handed[0].outcome.as_ref().unwrap_err().code(), "DAEE-U062");
    }
    assert_eq!(slow.say(|ledger| ledger.asked.len()), 3);
}
