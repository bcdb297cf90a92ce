//! An agent that walks through every operation of `daee-agent`, one stop for each path. What each stop answers stands
//! in `expected.json`: the door of the SDK's tests and the door of a node are held to the same answers.

use daee_agent::{
    Answer, Code, Error, Event, Request, What, call, chain, http, ipfs, log, now_ms, random, state,
    timer,
};
use serde_json::{Value, json};

daee_agent::reactor!(turn);

/// A host that the tour may fetch from, and content that it may read.
pub const HOST: &str = "https://api.example.com";
/// Content that it may read.
pub const CID: &str = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";

/// Handles one event.
pub fn turn(event: Event) -> Result<(), Error> {
    let at_ms = event.at_ms;
    let What::Http(request) = event.what else { return Ok(()) };
    let value = match request.path.as_str() {
        "/echo" => echo(&request),
        "/log" => write_log(),
        "/now" => json!({"since_the_event_ms": now_ms()? - at_ms}),
        "/random" => json!({"bytes": random(3)?.len(), "none": random(0)?.len()}),
        "/state" => keep()?,
        "/swap" => swap()?,
        "/unreadable" => unreadable()?,
        "/timers" => timers()?,
        "/fetch" => fetch()?,
        "/ipfs" => content()?,
        "/publish" => json!({"published": outcome(chain::publish("topic", b"data"))}),
        "/refused" => refused(),
        "/twice" => {
            Answer::json("first")?.with_status(201).header("x-tour", "yes").send()?;
            state::set_json("second", &outcome(Answer::status(200).send()))?;
            return Ok(());
        }
        "/silent" => return Ok(()),
        "/fail" => {
            state::set("failed", b"1")?;
            timer::set_after("failed", 1)?;
            Answer::status(200).send()?;
            ipfs::read("no content", 1)?;
            Value::Null
        }
        "/print" => {
            println!("printed");
            eprintln!("complained");
            Value::Null
        }
        "/panic" => panic!("as the tour was asked to"),
        _ => return Answer::text(404, "no such stop").send(),
    };
    Answer::json(&value)?.send()
}

fn echo(request: &Request) -> Value {
    json!({
        "method": request.method, "path": request.path, "query": request.query,
        "headers": request.headers, "host": request.header("HOST"), "none": request.header("x-none"),
        "body": request.body,
    })
}

fn write_log() -> Value {
    log::debug("debug");
    log::info("info \"quoted\"\n\u{1f600}");
    log::warn("warn");
    log::error("error");
    Value::Null
}

fn keep() -> Result<Value, Error> {
    state::set("a/1", b"\0\xff")?;
    state::set("a/2", b"")?;
    state::set("b", b"3")?;
    let found = json!({
        "got": state::get("a/1")?, "empty": state::get("a/2")?, "none": state::get("c")?,
        "all": state::list("a/", None, 1000)?, "after": state::list("", Some("a/1"), 1000)?,
        "one": state::list("", None, 1)?, "nothing": state::list("z", None, 1000)?,
        "deleted": state::delete("b")?, "again": state::delete("b")?, "gone": state::get("b")?,
    });
    state::set_json("json", &found)?;
    Ok(json!({"found": found, "kept": state::get_json::<Value>("json")? == Some(found)}))
}

fn swap() -> Result<Value, Error> {
    let long = vec![7; 1000];
    Ok(json!([
        state::swap("swap", Some(b"old"), b"new")?,
        state::swap("swap", None, &long)?,
        state::swap("swap", None, b"new")?,
        state::swap("swap", Some(b"other"), b"new")?,
        state::swap("swap", Some(&long), b"new")?,
        state::get("swap")?,
    ]))
}

fn unreadable() -> Result<Value, Error> {
    state::set("text", b"seven")?;
    Ok(outcome(state::get_json::<u64>("text")))
}

fn timers() -> Result<Value, Error> {
    timer::set_after("soon", 5)?;
    timer::set_at("late", now_ms()? + 60_000)?;
    timer::set_after("gone", 5)?;
    Ok(json!([timer::cancel("gone")?, timer::cancel("gone")?]))
}

fn fetch() -> Result<Value, Error> {
    let fetched = http::Fetch::new("POST", &format!("{HOST}/answers?a=b"))
        .header("x-tour", "yes")
        .body("question")
        .timeout_ms(1000)
        .send()?;
    Ok(json!({
        "status": fetched.status, "success": fetched.is_success(), "json": fetched.json::<Value>()?,
        "missing": http::get(&format!("{HOST}/missing"))?.is_success(),
        "fails": outcome(http::get(&format!("{HOST}/fails"))),
    }))
}

fn content() -> Result<Value, Error> {
    Ok(json!({"read": ipfs::read(CID, 100)?, "none": outcome(ipfs::read("none", 100))}))
}

fn refused() -> Value {
    json!({
        "unknown": outcome(call("no.such", json!({}), b"")),
        "status": outcome(Answer::status(99).send()),
        "timer": outcome(call("timer.set", json!({"name": "both", "at_ms": 1, "after_ms": 1}), b"")),
        "key": outcome(call("state.get", json!({}), b"")),
        "level": outcome(call("log", json!({"level": "loud", "text": ""}), b"")),
        "expect": outcome(call("state.cas", json!({"key": "swap"}), b"")),
    })
}

/// What an operation came to, without the words, which are for people.
fn outcome<T>(result: Result<T, Error>) -> Value {
    let Err(error) = result else { return json!("done") };
    let code = match error.code() {
        Code::Denied => "denied",
        Code::Unknown => "unknown",
        Code::Malformed => "malformed",
        Code::Limit => "limit",
        Code::NotFound => "not_found",
        Code::Outside => "outside",
        Code::NotNow => "not_now",
        Code::Unreadable => "unreadable",
        _ => "another",
    };
    json!({"code": code, "needs": error.needs(), "says_why": !error.to_string().is_empty()})
}

#[cfg(test)]
mod tests {
    use daee_agent::log::Level;
    use daee_agent::testing::{BEGIN_MS, Door};

    use super::*;

    /// As the node's test sets the world up.
    fn door() -> Door {
        let mut door = Door::new();
        door.serve(&format!("{HOST}/answers?a=b"), 200, r#"{"answer":42}"#)
            .serve(&format!("{HOST}/missing"), 404, "")
            .fail(&format!("{HOST}/fails"), "connection reset")
            .content(CID, "content");
        door
    }

    fn request(path: &str) -> What {
        What::Http(Request {
            method: "POST".into(),
            path: path.into(),
            query: "q=\"1\"".into(),
            headers: vec![("Host".into(), "agent.example".into())],
            body: vec![0, 255],
        })
    }

    #[test]
    fn every_stop_answers_as_expected() {
        let expected: Value = serde_json::from_str(include_str!("../expected.json")).unwrap();
        for (path, expected) in expected.as_object().unwrap() {
            let answer = door().turn(request(path), turn).answer;
            let answer = answer.unwrap_or_else(|| panic!("{path} does not answer"));
            let found: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(&found, expected, "{path}: {found}");
        }
    }

    #[test]
    fn without_a_permission_it_says_which() {
        let mut door = door();
        let answer =
            door.deny("chain.publish", Some("publish_to_chain")).turn(request("/publish"), turn);
        let found: Value = serde_json::from_slice(&answer.answer.unwrap().body).unwrap();
        let expected = json!({"code": "denied", "needs": "publish_to_chain", "says_why": true});
        assert_eq!(found["published"], expected);
    }

    #[test]
    fn what_is_left_behind_is_as_expected() {
        let mut door = door();
        let turned = door.turn(request("/log"), turn);
        let levels: Vec<_> = turned.logs.iter().map(|(level, _)| *level).collect();
        assert_eq!(levels, [Level::Debug, Level::Info, Level::Warn, Level::Error]);
        door.turn(request("/timers"), turn);
        assert_eq!((door.timer_ms("soon"), door.timer_ms("gone")), (Some(BEGIN_MS + 5), None));
        let turned = door.turn(request("/twice"), turn);
        assert_eq!(turned.answer.unwrap().status, 201);
        assert_eq!(
            door.state("second"),
            Some(&br#"{"code":"not_now","needs":null,"says_why":true}"#[..])
        );
        let turned = door.turn(request("/fail"), turn);
        assert!(turned.result.is_err() && turned.answer.is_none());
        assert_eq!((door.state("failed"), door.timer_ms("failed")), (None, None));
        assert_eq!(door.turn(request("/silent"), turn).answer, None);
    }
}
