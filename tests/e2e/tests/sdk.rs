//! `daee-agent` at a real door, as a reactor and as a resident: every operation, held to the answers that the door of
//! its unit tests gives (`guests/tour`).

mod cells;

use std::path::{Path, PathBuf};

use cells::{logged, run, runtime};
use daee_artifact::{Artifact, RunStyle};
use daee_policy::{Permit, Policy};
use daee_runtime::{
    Agent, CallKey, Event, FetchAnswer, FetchRequest, Launch, Outcome, Outside, OutsideError,
    Turned,
};
use daee_transcript::Level;
use daee_types::{ArtifactHash, Timestamp};
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp(1_700_000_000_000);
const STYLES: [RunStyle; 2] = [RunStyle::Reactor, RunStyle::Resident];
const PERMISSIONS: &[&str] = &["network_outbound:api.example.com", "read_ipfs", "publish_to_chain"];

fn main() {
    daee_runtime::child_main();
    run(&[
        ("every_stop_answers_as_the_sdks_own_door_does", every_stop_answers),
        ("log_lines_have_their_level", log_lines_have_their_level),
        ("what_is_printed_is_logged", what_is_printed_is_logged),
        ("timers_and_values_to_publish_are_in_the_state", timers_and_values),
        ("a_second_answer_is_refused_and_the_first_stays", a_second_answer_is_refused),
        ("an_error_rolls_the_turn_back_and_is_logged", an_error_rolls_the_turn_back),
        ("a_panic_rolls_the_turn_back_and_says_where", a_panic_rolls_the_turn_back),
        ("a_turn_without_an_answer_is_a_turn", a_turn_without_an_answer_is_a_turn),
        ("without_a_permission_it_is_named", without_a_permission_it_is_named),
    ]);
}

fn every_stop_answers() {
    let expected = std::fs::read_to_string(guest().join("expected.json")).expect("it is committed");
    let expected: Value = serde_json::from_str(&expected).expect("JSON");
    for style in STYLES {
        let mut agent = start(style, PERMISSIONS);
        for (path, expected) in expected.as_object().expect("an object") {
            let turned = visit(&mut agent, path);
            assert_eq!(turned.outcome, Outcome::Done, "{style:?} {path}: {:?}", logged(&turned));
            let answer = turned.answer.unwrap_or_else(|| panic!("{path} does not answer"));
            let found: Value = serde_json::from_slice(&answer.body).expect("JSON");
            assert_eq!(&found, expected, "{style:?} {path}: {found}");
        }
    }
}

fn log_lines_have_their_level() {
    for style in STYLES {
        let turned = visit(&mut start(style, PERMISSIONS), "/log");
        let lines: Vec<_> =
            turned.commit.logs.iter().map(|line| (line.level, line.text.as_str())).collect();
        let expected = [
            (Level::Debug, "debug"),
            (Level::Info, "info \"quoted\"\n\u{1f600}"),
            (Level::Warn, "warn"),
            (Level::Error, "error"),
        ];
        assert_eq!(lines, expected, "{style:?}");
    }
}

fn what_is_printed_is_logged() {
    for style in STYLES {
        let turned = visit(&mut start(style, PERMISSIONS), "/print");
        assert_eq!(logged(&turned), ["printed", "complained"], "{style:?}");
    }
}

fn timers_and_values() {
    for style in STYLES {
        let mut agent = start(style, PERMISSIONS);
        visit(&mut agent, "/timers");
        let timers: Vec<_> = agent.state().timers().iter().collect();
        let (late, soon) = (NOW.plus_millis(60_000), NOW.plus_millis(5));
        assert_eq!(timers, [(&"late".into(), &late), (&"soon".into(), &soon)], "{style:?}");
        let turned = visit(&mut agent, "/publish");
        let [effect] = &turned.effects[..] else { panic!("{style:?}: {turned:?}") };
        assert_eq!((effect.topic.as_str(), &effect.data[..]), ("topic", &b"data"[..]));
    }
}

fn a_second_answer_is_refused() {
    for style in STYLES {
        let mut agent = start(style, PERMISSIONS);
        let answer = visit(&mut agent, "/twice").answer.expect("the first");
        assert_eq!((answer.status, &answer.body[..]), (201, &b"\"first\""[..]));
        assert!(answer.headers.contains(&("x-tour".into(), "yes".into())), "{answer:?}");
        let second = agent.state().key("second").expect("what the second came to");
        assert!(second.starts_with(br#"{"code":"not_now""#), "{style:?}");
    }
}

fn an_error_rolls_the_turn_back() {
    let check = |style, expected: Outcome| {
        let mut agent = start(style, PERMISSIONS);
        let turned = visit(&mut agent, "/fail");
        assert_eq!((&turned.outcome, &turned.answer), (&expected, &None), "{style:?}");
        assert!(logged(&turned)[0].contains("no content"), "{:?}", logged(&turned));
        assert!(agent.state().key("failed").is_none() && agent.state().timers().is_empty());
        assert_eq!(visit(&mut agent, "/log").outcome, Outcome::Done, "{style:?} goes on");
    };
    check(RunStyle::Reactor, Outcome::RolledBack { code: 1 });
    check(RunStyle::Resident, Outcome::Exited { code: 1 });
}

fn a_panic_rolls_the_turn_back() {
    for style in STYLES {
        let mut agent = start(style, PERMISSIONS);
        let turned = visit(&mut agent, "/panic");
        assert!(matches!(turned.outcome, Outcome::Trap { .. }), "{style:?}: {turned:?}");
        let log = logged(&turned).join("\n");
        assert!(log.contains("as the tour was asked to") && log.contains("lib.rs"), "{log}");
        assert_eq!(visit(&mut agent, "/log").outcome, Outcome::Done, "{style:?} goes on");
    }
}

fn a_turn_without_an_answer_is_a_turn() {
    for style in STYLES {
        let mut agent = start(style, PERMISSIONS);
        let turned = visit(&mut agent, "/silent");
        assert_eq!((turned.outcome, turned.answer), (Outcome::Done, None), "{style:?}");
        let turned = agent.turn(Event::Tick { block_hash: [1; 32] }, NOW);
        assert_eq!((turned.outcome, turned.answer), (Outcome::Done, None), "{style:?}");
    }
}

fn without_a_permission_it_is_named() {
    for style in STYLES {
        let mut agent = start(style, &[]);
        let answer = visit(&mut agent, "/publish").answer.expect("it answers what it came to");
        let found: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let denied = json!({"code": "denied", "needs": "publish_to_chain", "says_why": true});
        assert_eq!(found, json!({"published": denied}), "{style:?}");
        for (path, needs) in
            [("/fetch", "network_outbound:api.example.com"), ("/ipfs", "read_ipfs")]
        {
            let turned = visit(&mut agent, path);
            assert!(!turned.outcome.is_kept(), "{style:?} {path}");
            assert!(logged(&turned)[0].contains(needs), "{:?}", logged(&turned));
        }
    }
}

fn start(style: RunStyle, permissions: &[&str]) -> Agent {
    let name = match style {
        RunStyle::Reactor => "tour.wasm",
        _ => "tour-resident.wasm",
    };
    let wasm = std::fs::read(guest().join(name)).expect("the guest is committed");
    let hash = ArtifactHash::of(&wasm);
    let artifact = Artifact::fetched(wasm).verify(&hash).expect("its own hash");
    let runtime = runtime();
    let module = runtime.prepare(&artifact, Some(style)).expect("it runs here");
    let listed = permissions.iter().map(|line| (line.parse().expect("a permission"), 1));
    let launch = Launch { policy: Policy::new(listed.collect()), ..Launch::new(module) };
    Agent::start(&runtime, launch, Box::new(World)).expect("it starts")
}

/// As the tour's own tests send it.
fn visit(agent: &mut Agent, path: &str) -> Turned {
    let request = Event::Http {
        method: "POST".into(),
        path: path.into(),
        query: "q=\"1\"".into(),
        headers: vec![("Host".into(), "agent.example".into())],
        body: vec![0, 255],
    };
    agent.turn(request, NOW)
}

/// The world of the tour's own tests, on this side of the door.
struct World;

impl Outside for World {
    fn fetch(
        &mut self,
        permit: Permit,
        request: FetchRequest,
        _: CallKey,
    ) -> Result<FetchAnswer, OutsideError> {
        assert_eq!(permit.host(), "api.example.com");
        let answered = |status, body: &str| {
            Ok(FetchAnswer { status, headers: Vec::new(), body: body.as_bytes().to_vec() })
        };
        match permit.target().as_str() {
            "/answers?a=b" => {
                let header = ("x-tour".to_owned(), "yes".to_owned());
                assert_eq!(
                    (request.method.as_str(), &request.body[..]),
                    ("POST", &b"question"[..])
                );
                assert_eq!((&request.headers[..], request.timeout_millis), (&[header][..], 1000));
                answered(200, r#"{"answer":42}"#)
            }
            "/missing" => answered(404, ""),
            _ => Err(OutsideError::Failed("connection reset".into())),
        }
    }
    fn ipfs(&mut self, cid: &str, max: u64) -> Result<Vec<u8>, OutsideError> {
        assert!(matches!(max, 1 | 100), "as the tour asked: {max}");
        match cid {
            "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy" => {
                Ok(b"content".to_vec())
            }
            _ => Err(OutsideError::NotFound(format!("there is no {cid}"))),
        }
    }
    fn random(&mut self, out: &mut [u8]) {
        out.fill(0x2a);
    }
    fn now(&mut self) -> Timestamp {
        NOW
    }
    fn before_outside(&mut self, _: &[u8], _: &daee_transcript::Bodies) {}
}

fn guest() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("guests/tour")
}
