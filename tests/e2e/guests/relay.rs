//! Does the calls that a request's body lists, by name or by function, and answers with what each gave.

use daee_agent::{
    Answer, Code, Error, Event, What, call, chain, file, http, ipfs, log, now_ms, random, state,
    timer,
};
use daee_agent::serde_json::{self, Value, json};

daee_agent::reactor!(turn);

fn turn(event: Event) -> Result<Option<Answer>, Error> {
    let What::Http(request) = event.what else { return Ok(None) };
    let mut rest = request.body.as_slice();
    let (mut out, mut answer) = (Vec::new(), None);
    while let Some((typed, behind)) = rest.split_first() {
        rest = behind;
        let op = String::from_utf8_lossy(part(&mut rest)).into_owned();
        let head: Value = serde_json::from_slice(part(&mut rest)).unwrap();
        let body = part(&mut rest);
        let done = match (*typed, op.as_str()) {
            (0, _) => call(&op, head, body).map(|reply| (Value::Object(reply.head), reply.body)),
            (_, "event.answer") => {
                let status = head["status"].as_u64().unwrap_or(200) as u16;
                let headers = serde_json::from_value(head["headers"].clone()).unwrap_or_default();
                answer = Some(Answer { status, headers, body: body.to_vec() });
                Ok((json!({}), Vec::new()))
            }
            _ => by_function(&op, &head, body),
        };
        let (code, head, body) = match done {
            Ok((head, body)) => (0, head, body),
            Err(error) => (number(error.code()), json!({"needs": error.needs()}), Vec::new()),
        };
        out.extend(code.to_le_bytes());
        for part in [head.to_string().as_bytes(), &body] {
            out.extend((part.len() as u32).to_le_bytes());
            out.extend(part);
        }
    }
    let given = || Answer { body: out, ..Answer::status(200) };
    let answer = answer.unwrap_or_else(given);
    let _ = answer.send();
    Ok(None)
}

fn by_function(op: &str, head: &Value, body: &[u8]) -> Result<(Value, Vec<u8>), Error> {
    let text = |name: &str| head[name].as_str().unwrap_or_default();
    let whole = |name: &str, otherwise: u64| head[name].as_u64().unwrap_or(otherwise);
    let (key, name, path) = (text("key"), text("name"), text("path"));
    let (after, limit) = (head["after"].as_str(), whole("limit", 1000) as usize);
    let told = |head: Value| Ok((head, Vec::new()));
    let done = |result: Result<(), Error>| result.and_then(|()| told(json!({})));
    let given = |result: Result<Vec<u8>, Error>| Ok((json!({}), result?));
    let stat = |stat: Result<file::Stat, Error>| {
        let stat = stat?;
        let kind = kind(stat.kind);
        told(json!({"kind": kind, "size": stat.size, "modified_ns": stat.modified_ns}))
    };
    match op {
        "log" => {
            match text("level") {
                "error" => log::error(text("text")),
                _ => log::info(text("text")),
            }
            told(json!({}))
        }
        "now" => told(json!({"ms": now_ms()?})),
        "random" => given(random(whole("bytes", 0) as usize)),
        "event.next" => Event::next().and_then(|_| told(json!({}))),
        "state.get" => match state::get(key)? {
            Some(value) => given(Ok(value)),
            None => call("state.get", json!({"key": key}), b"").map(|_| unreachable!()),
        },
        "state.set" => done(state::set(key, body)),
        "state.delete" => told(json!({"existed": state::delete(key)?})),
        "state.list" => told(json!({"keys": state::list(text("prefix"), after, limit)?})),
        // The vectors' hash is that of "1".
        "state.cas" => {
            let old = if head["expect"] == "absent" { None } else { Some(&b"1"[..]) };
            told(json!({"swapped": state::swap(key, old, body)?}))
        }
        "timer.set" => done(match head["at_ms"].as_u64() {
            Some(at_ms) => timer::set_at(name, at_ms),
            None => timer::set_after(name, whole("after_ms", 0)),
        }),
        "timer.cancel" => told(json!({"existed": timer::cancel(name)?})),
        "http.fetch" => {
            let method = head["method"].as_str().unwrap_or("GET");
            let mut fetch = http::Fetch::new(method, text("url")).body(body);
            for pair in head["headers"].as_array().into_iter().flatten() {
                fetch = fetch.header(pair[0].as_str().unwrap(), pair[1].as_str().unwrap());
            }
            if let Some(timeout_ms) = head["timeout_ms"].as_u64() {
                fetch = fetch.timeout_ms(timeout_ms);
            }
            let fetched = fetch.send()?;
            Ok((json!({"status": fetched.status, "headers": fetched.headers}), fetched.body))
        }
        "ipfs.read" => given(ipfs::read(text("cid"), whole("max_bytes", 1 << 20) as usize)),
        "chain.publish" => done(chain::publish(text("topic"), body)),
        "file.read" if head["offset"].is_null() && head["bytes"].is_null() => {
            given(file::read(path))
        }
        "file.read" => {
            given(file::read_at(path, whole("offset", 0), whole("bytes", 4 << 20) as usize))
        }
        "file.write" => done(match &head["offset"] {
            Value::Null => file::write(path, body),
            Value::String(_) => file::append(path, body),
            _ => file::write_at(path, whole("offset", 0), body),
        }),
        "file.truncate" => done(file::truncate(path, whole("size", 0))),
        "file.stat" => stat(file::stat(path)),
        "file.create" => stat(file::create(path, head["new"] == true)),
        "file.mkdir" => stat(file::create_dir(path)),
        "file.list" => {
            let entries = file::list(path, after, limit)?;
            let entries = entries.iter().map(|one| json!({"name": one.name, "kind": kind(one.kind)}));
            told(json!({"entries": entries.collect::<Vec<_>>()}))
        }
        "file.remove" => done(file::remove(path)),
        "file.rename" => done(file::rename(path, text("to"))),
        "file.touch" => done(file::touch(path, head["modified_ns"].as_u64())),
        _ => panic!("there is no function for {op}"),
    }
}

fn kind(kind: file::Kind) -> &'static str {
    match kind {
        file::Kind::File => "file",
        file::Kind::Directory => "directory",
    }
}

fn number(code: Code) -> i32 {
    match code {
        Code::Denied => -1,
        Code::Unknown => -2,
        Code::Malformed => -3,
        Code::Limit => -4,
        Code::NotFound => -5,
        Code::Outside => -6,
        Code::NotNow => -7,
        Code::Conflict => -8,
        _ => i32::MIN,
    }
}

fn part<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let (len, behind) = rest.split_first_chunk::<4>().unwrap();
    let (found, behind) = behind.split_at(u32::from_le_bytes(*len) as usize);
    *rest = behind;
    found
}
