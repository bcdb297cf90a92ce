//! An event as RFC 3875 has a request, and its answer.

use serde_json::{Map, Value, json};

/// Most bytes of an answer's headers.
const HEADERS_BYTES_MAX: usize = 64 << 10;

/// What a program started for an event is told besides what it reads.
pub(super) struct Request {
    pub(super) environment: Vec<(String, String)>,
    /// Whether what it writes is the answer; otherwise it is log.
    pub(super) is_answered: bool,
}

impl Request {
    pub(super) fn new(head: &Map<String, Value>, body_bytes: usize) -> Self {
        let text = |name: &str| head.get(name).and_then(Value::as_str).unwrap_or_default();
        let kind = text("kind").to_owned();
        let mut environment = Vec::new();
        let mut put = |name: &str, value: &str| {
            // What an environment cannot say is left out.
            if !value.contains('\0') {
                environment.push((name.to_owned(), value.to_owned()));
            }
        };
        for (name, value) in head {
            match value {
                Value::String(value) if kind != "http" || name == "kind" => {
                    put(&format!("DAEE_{}", name.to_ascii_uppercase()), value);
                }
                Value::Number(value) => {
                    put(&format!("DAEE_{}", name.to_ascii_uppercase()), &value.to_string());
                }
                _ => {}
            }
        }
        if body_bytes > 0 {
            put("CONTENT_LENGTH", &body_bytes.to_string());
        }
        if kind == "http" {
            put("GATEWAY_INTERFACE", "CGI/1.1");
            put("SERVER_SOFTWARE", "daee");
            put("SERVER_PROTOCOL", "HTTP/1.1");
            put("REQUEST_METHOD", text("method"));
            put("SCRIPT_NAME", "");
            put("PATH_INFO", &unescaped(text("path")));
            put("QUERY_STRING", text("query"));
            // Who asks is not said, and may not be a machine that has one.
            put("REMOTE_ADDR", "0.0.0.0");
            let headers = headers(head);
            let host = headers.iter().find(|(name, _)| name == "HTTP_HOST");
            let host = host.map_or("", |(_, host)| host);
            let (name, port) = host.rsplit_once(':').unwrap_or((host, "443"));
            put("SERVER_NAME", name);
            put("SERVER_PORT", port);
            for (name, value) in &headers {
                put(name, value);
            }
        }
        Self { environment, is_answered: matches!(&*kind, "http" | "message") }
    }
}

/// Headers under the names that CGI gives them, each once.
fn headers(head: &Map<String, Value>) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let pairs = head.get("headers").and_then(Value::as_array);
    for pair in pairs.into_iter().flatten() {
        let (Some(name), Some(value)) = (pair[0].as_str(), pair[1].as_str()) else { continue };
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let name = name.to_ascii_uppercase().replace('-', "_");
        let name = match &*name {
            "CONTENT_TYPE" => name,
            // The first is counted, and the second is read by HTTP libraries as the proxy that they are to use.
            "CONTENT_LENGTH" | "PROXY" => continue,
            _ if !plain => continue,
            _ => format!("HTTP_{name}"),
        };
        match found.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => {
                known.push_str(if name == "HTTP_COOKIE" { "; " } else { ", " });
                known.push_str(value);
            }
            None => found.push((name, value.to_owned())),
        }
    }
    found
}

/// A path without its escapes, as far as they are text.
fn unescaped(path: &str) -> String {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = after.get(..2).filter(|_| *first == b'%');
        let escaped = escaped.and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = escaped.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &after[2..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| path.to_owned())
}

/// What was written as the head and body of `event.answer`. Headers are there if a block of them stands at
/// the front, one of those that CGI knows among them; without them it is plain text, all of it.
pub(super) fn answer(output: &[u8]) -> (Value, &[u8]) {
    let Some((headers, body)) = block(output) else {
        let headers = [["content-type", "text/plain; charset=utf-8"]];
        return (json!({"headers": headers, "status": 200}), output);
    };
    let mut status = None;
    let mut out = Vec::new();
    for (name, value) in headers {
        match &*name {
            "status" => status = value.split(' ').next().and_then(|code| code.parse::<u16>().ok()),
            _ => out.push(json!([name, value])),
        }
    }
    let moved = out.iter().any(|header| header[0] == "location");
    let status = status.unwrap_or(if moved { 302 } else { 200 });
    (json!({"headers": out, "status": status}), body)
}

type Headers = Vec<(String, String)>;

fn block(output: &[u8]) -> Option<(Headers, &[u8])> {
    let mut headers = Headers::new();
    let mut rest = output;
    loop {
        let end = rest.iter().take(HEADERS_BYTES_MAX).position(|byte| *byte == b'\n')?;
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        rest = &rest[end + 1..];
        if output.len() - rest.len() > HEADERS_BYTES_MAX {
            return None;
        }
        if line.is_empty() {
            break;
        }
        let (name, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(token) {
            return None;
        }
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let known = ["content-type", "location", "status"];
    headers.iter().any(|(name, _)| known.contains(&&**name)).then_some((headers, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(output: &str, status: u16, headers: &[[&str; 2]], body: &str) {
        let (head, found) = answer(output.as_bytes());
        assert_eq!(head, json!({"headers": headers, "status": status}), "{output:?}");
        assert_eq!(found, body.as_bytes(), "{output:?}");
    }

    #[test]
    fn a_block_of_headers_is_read() {
        let json = ["content-type", "application/json"];
        check("Content-Type: application/json\r\n\r\n{}\n", 200, &[json], "{}\n");
        check("Status: 404 Not Found\nContent-type:application/json\n\n", 404, &[json], "");
        check("Location: /elsewhere\n\n", 302, &[["location", "/elsewhere"]], "");
        check("status: 204\nx-a: 1\nX-A: 2\n\n", 204, &[["x-a", "1"], ["x-a", "2"]], "");
        check("Status: many\n\nx", 200, &[], "x");
    }

    #[test]
    fn what_is_no_block_of_headers_is_the_body() {
        for output in [
            "hello",
            "hello\n\nworld",
            "Note: this is text\n\nand goes on",
            "Content-Type: text/html",
            "Content-Type: text/html\n",
            "Content-Type text/html\n\n",
            "Content Type: text/html\n\n",
            "\nContent-Type: text/html\n\n",
            ": x\n\n",
        ] {
            check(output, 200, &[["content-type", "text/plain; charset=utf-8"]], output);
        }
        let long = format!("Status: 200\nx: {}\n\n", "y".repeat(HEADERS_BYTES_MAX));
        check(&long, 200, &[["content-type", "text/plain; charset=utf-8"]], &long);
    }

    fn environment(head: Value, bytes: usize) -> Vec<(String, String)> {
        let Value::Object(head) = head else { panic!("{head} is no head") };
        Request::new(&head, bytes).environment
    }

    #[test]
    fn a_request_stands_in_the_environment() {
        let found = environment(
            json!({
                "kind": "http", "method": "POST", "path": "/a%20b/%ff", "query": "x=1&y", "turn": 3, "ms": 17,
                "headers": [
                    ["Host", "a.localhost:8080"], ["content-type", "text/plain"], ["content-length", "9"],
                    ["x-a", "1"], ["X-A", "2"], ["cookie", "a"], ["cookie", "b"], ["proxy", "http://evil/"],
                    ["x a", "3"], ["x_a", "4"],
                ],
            }),
            5,
        );
        let get = |name: &str| {
            let mut all =
                found.iter().filter(|(known, _)| known == name).map(|(_, value)| &**value);
            (all.next(), all.next())
        };
        for (name, value) in [
            ("GATEWAY_INTERFACE", "CGI/1.1"),
            ("REQUEST_METHOD", "POST"),
            ("PATH_INFO", "/a%20b/%ff"),
            ("QUERY_STRING", "x=1&y"),
            ("CONTENT_LENGTH", "5"),
            ("CONTENT_TYPE", "text/plain"),
            ("SERVER_NAME", "a.localhost"),
            ("SERVER_PORT", "8080"),
            ("HTTP_X_A", "1, 2"),
            ("HTTP_COOKIE", "a; b"),
            ("DAEE_KIND", "http"),
            ("DAEE_TURN", "3"),
            ("DAEE_MS", "17"),
        ] {
            assert_eq!(get(name), (Some(value), None), "{name}");
        }
        for name in ["HTTP_PROXY", "HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE", "DAEE_METHOD"] {
            assert_eq!(get(name), (None, None), "{name}");
        }
    }

    #[test]
    fn other_events_are_told_by_their_fields() {
        let found =
            environment(json!({"kind": "tick", "block_hash": "0x01", "turn": 1, "ms": 2}), 0);
        let mut found: Vec<_> =
            found.iter().map(|(name, value)| format!("{name}={value}")).collect();
        found.sort();
        assert_eq!(found, ["DAEE_BLOCK_HASH=0x01", "DAEE_KIND=tick", "DAEE_MS=2", "DAEE_TURN=1"]);
    }

    #[test]
    fn a_path_loses_its_escapes_where_they_are_text() {
        let check = |path: &str, expected: &str| assert_eq!(unescaped(path), expected);
        check("/a%20b%C3%A9", "/a bé");
        check("/%", "/%");
        check("/%4", "/%4");
        check("/%+4", "/%+4");
        check("/%ff", "/%ff");
    }
}
