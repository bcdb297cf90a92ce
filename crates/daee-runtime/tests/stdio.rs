//! Programs that know nothing of the door: by CGI and by JSON lines.

mod common;

use common::{Bench, NOW, policy, request};
use daee_runtime::{Agent, Event, Isolation, Launch, Limits, Nothing, Outcome, RunStyle};
use daee_transcript::Level;
use daee_types::{ByteSize, Timestamp};
use serde_json::{Value, json};

const LINES: &str = include_str!("guests/lines.wat");
const CGI: &str = include_str!("guests/cgi.wat");

fn start(wat: &str, style: RunStyle, args: &[String], limits: Limits) -> Agent {
    let bench = Bench::new(Isolation::InProcess);
    let module = bench.prepare(wat, Some(style)).unwrap();
    let env = [("NAME", "value"), ("REQUEST_METHOD", "none")];
    let env = env.map(|(name, value)| (name.into(), value.into())).to_vec();
    let (policy, args) = (policy(), args.to_vec());
    let launch = Launch { limits, policy, args, env, ..Launch::new(module) };
    Agent::start(&bench.runtime, launch, Box::new(Nothing(NOW))).unwrap()
}

fn vectors() -> Value {
    serde_json::from_str(include_str!("../vectors/lines.json")).unwrap()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().unwrap_or_else(|| panic!("{name} of {value}"))
}

fn logs(turned: &daee_runtime::Turned) -> Vec<(Level, String)> {
    turned.commit.logs.iter().map(|line| (line.level, line.text.clone())).collect()
}

#[test]
fn every_line_is_taken_as_the_vectors_say() {
    let mut state = None;
    for turn in list(&vectors(), "turns") {
        let lines = list(turn, "lines");
        let args = lines.iter().map(|line| {
            let said = line["said"].as_str().unwrap();
            if line["heard"].is_object() { format!(">{said}") } else { said.to_owned() }
        });
        let args: Vec<_> = args.collect();
        let bench = Bench::new(Isolation::InProcess);
        let module = bench.prepare(LINES, Some(RunStyle::Resident)).unwrap();
        let mut launch = Launch { policy: policy(), args, ..Launch::new(module) };
        launch.snapshot = state.take().unwrap_or(launch.snapshot);
        let mut agent = Agent::start(&bench.runtime, launch, Box::new(Nothing(NOW))).unwrap();
        let turned = agent.turn(Event::Start, NOW);
        assert_eq!(turned.outcome, Outcome::Done, "{turn}");
        let mut found = logs(&turned);
        found.retain(|(_, text)| !text.starts_with("http.fetch"));
        assert_eq!(found.len(), lines.len() + 1, "{found:?}");
        for (line, (level, text)) in lines.iter().zip(&found[1..]) {
            if let Some(log) = line["log"].as_str() {
                assert_eq!((*level, text.as_str()), (Level::Info, log));
                continue;
            }
            let mut heard: Value = serde_json::from_str(text).unwrap();
            if heard["code"].is_string() {
                let message = heard.as_object_mut().unwrap().remove("message");
                assert!(message.is_some_and(|message| message.is_string()), "{line}");
            }
            assert_eq!((*level, heard), (Level::Warn, line["heard"].clone()), "{line}");
        }
        if let Some(answer) = turn.get("answer") {
            let given = turned.answer.unwrap();
            let body = String::from_utf8(given.body).unwrap();
            let given = json!({"status": given.status, "headers": given.headers, "body": body});
            assert_eq!(given, *answer);
        }
        state = Some(agent.stop());
    }
}

#[test]
fn events_are_lines_as_the_vectors_say() {
    for case in list(&vectors(), "events") {
        let event = &case["event"];
        let body = match event["body_hex"].as_str() {
            Some(digits) => hex::decode(digits).unwrap(),
            None => event["body"].as_str().unwrap_or_default().into(),
        };
        let built = match event["kind"].as_str().unwrap() {
            "start" => Event::Start,
            "http" => request(body),
            "timer" => Event::Timer { name: event["name"].as_str().unwrap().into() },
            other => panic!("{other}"),
        };
        let mut agent = start(LINES, RunStyle::Resident, &[], Limits::default());
        let turned = agent.turn(built, NOW);
        let line = case["line"].as_str().unwrap().to_owned();
        assert_eq!(logs(&turned), [(Level::Warn, line)]);
    }
}

#[test]
fn a_resident_reads_one_event_after_another() {
    let args = [">{\"op\":\"event.answer\",\"body\":\"x\"}".to_owned()];
    let mut agent = start(LINES, RunStyle::Resident, &args, Limits::default());
    for turn in 1..4 {
        let turned = agent.turn(request(b"b".to_vec()), NOW);
        assert_eq!(turned.outcome, Outcome::Done);
        assert_eq!(turned.answer.as_ref().unwrap().body, b"x");
        assert!(logs(&turned)[0].1.ends_with(&format!("\"turn\":{turn}}}")));
    }
}

#[test]
fn who_asks_and_never_listens_is_stopped_and_not_the_node() {
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 32) "{\"op\":\"random\",\"bytes\":4096}\n")
        (func (export "_start")
            (i32.store (i32.const 0) (i32.const 32)) (i32.store (i32.const 4) (i32.const 1))
            (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
            (i32.store8 (i32.const 32) (i32.const 123)) (i32.store (i32.const 4) (i32.const 29))
            (loop $more
                (br_if $more (i32.eqz (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
            unreachable))"#;
    let limits = Limits { door_frame_max: ByteSize::kib(64), ..Limits::default() };
    let mut agent = start(wat, RunStyle::Resident, &[], limits);
    let turned = agent.turn(Event::Start, NOW);
    assert!(matches!(turned.outcome, Outcome::Trap { .. }), "{:?}", turned.outcome);

    // All at once is no way around it.
    let many = "{\"op\":\"random\",\"bytes\":4096}\n".repeat(1000);
    let one = r#""{\"op\":\"random\",\"bytes\":4096}\n""#;
    assert!(wat.contains(one));
    let wat = wat.replace(one, &format!("{many:?}"));
    let wat = wat.replace("(i32.const 29)", "(i32.const 29000)");
    let mut agent = start(&wat, RunStyle::Resident, &[], limits);
    let turned = agent.turn(Event::Start, NOW);
    assert!(matches!(turned.outcome, Outcome::Trap { .. }), "{:?}", turned.outcome);
    let asked = format!("{:?}", common::entries(&turned.commit.transcript));
    assert!(asked.matches("random").count() < 40, "{asked}");
}

#[test]
fn a_request_and_its_answer_go_by_cgi() {
    let mut agent = start(CGI, RunStyle::PerEvent, &[], Limits::default());
    let event = Event::Http {
        method: "POST".into(),
        path: "/a%20b".into(),
        query: "x=1".into(),
        headers: vec![
            ("host".into(), "a.localhost".into()),
            ("proxy".into(), "http://evil".into()),
        ],
        body: b"Status: 201 Created\nX-A: 1\n\nhello\n".to_vec(),
    };
    let turned = agent.turn(event, NOW);
    assert_eq!((turned.outcome.clone(), logs(&turned)), (Outcome::Done, vec![]));
    let answer = turned.answer.unwrap();
    assert_eq!((answer.status, answer.headers), (201, vec![("x-a".into(), "1".into())]));
    let body = String::from_utf8(answer.body).unwrap();
    let (first, variables) = body.split_once('\n').unwrap();
    let variables: Vec<&str> = variables.lines().collect();
    assert_eq!(first, "hello");
    for expected in [
        "NAME=value",
        "REQUEST_METHOD=POST",
        "PATH_INFO=/a b",
        "QUERY_STRING=x=1",
        "CONTENT_LENGTH=34",
        "SERVER_NAME=a.localhost",
        "DAEE_KIND=http",
        "DAEE_TURN=1",
    ] {
        assert!(variables.contains(&expected), "{expected}: {variables:?}");
    }
    assert!(!body.contains("REQUEST_METHOD=none") && !body.contains("evil"), "{body}");
}

#[test]
fn other_events_go_by_cgi_and_are_answered_in_the_log() {
    let mut agent = start(CGI, RunStyle::PerEvent, &[], Limits::default());
    let turned = agent.turn(Event::Stop { deadline: Timestamp(7) }, NOW);
    assert_eq!(turned.answer, None);
    let found = logs(&turned);
    assert!(found.contains(&(Level::Info, "DAEE_DEADLINE_MS=7".into())), "{found:?}");
    let turned = agent.turn(Event::Message { from: "a.b".into(), body: b"hi\n".to_vec() }, NOW);
    let body = String::from_utf8(turned.answer.unwrap().body).unwrap();
    assert!(body.starts_with("hi\n") && body.contains("DAEE_FROM=a.b\n"), "{body}");
}

#[test]
fn a_program_that_fails_gives_no_answer() {
    let mut agent = start(CGI, RunStyle::PerEvent, &["one".into()], Limits::default());
    let turned = agent.turn(request(b"hello".to_vec()), NOW);
    assert_eq!(turned.outcome, Outcome::RolledBack { code: 1 });
    assert_eq!(turned.answer, None);
}

#[test]
fn an_answer_that_cannot_be_given_is_no_success() {
    let printing = |text: &str| {
        format!(
            r#"(module
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 32) {text:?})
            (func (export "_start")
                (i32.store (i32.const 0) (i32.const 32)) (i32.store (i32.const 4) (i32.const {}))
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
                (call $exit (i32.const 0)) unreachable))"#,
            text.len()
        )
    };
    let few = Limits { door_calls_max: 1, ..Limits::default() };
    let mut agent = start(&printing("hello"), RunStyle::PerEvent, &[], few);
    let turned = agent.turn(request(vec![]), NOW);
    assert_eq!(turned.outcome, Outcome::RolledBack { code: 1 });

    let odd = "Status: 700\n\n";
    let mut agent = start(&printing(odd), RunStyle::PerEvent, &[], Limits::default());
    let turned = agent.turn(request(vec![]), NOW);
    assert_eq!((turned.answer.as_ref().unwrap().status, logs(&turned).len()), (500, 1));
}

#[test]
fn an_answer_that_is_too_large_is_the_programs_fault() {
    let limits = Limits { door_frame_max: ByteSize::kib(4), ..Limits::default() };
    let mut agent = start(CGI, RunStyle::PerEvent, &[], limits);
    let turned = agent.turn(request(vec![b'x'; 4000]), NOW);
    assert!(matches!(turned.outcome, Outcome::Trap { .. }), "{:?}", turned.outcome);
}
