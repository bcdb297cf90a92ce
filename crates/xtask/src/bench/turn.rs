use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Report;
use crate::failure::Failure;
use crate::run::Run;
use crate::tools;

const WARM_UP: usize = 200;
const TURNS: usize = 2_000;
const CONNECTIONS: usize = 8;

/// What a warm turn costs from outside: a request to the endpoint of a running agent, answered by it.
pub fn run(repo: &Path) -> Result<Report, Failure> {
    tools::cargo(repo)
        .args(["build", "--release", "--locked", "--quiet", "--package", "daee-node"])
        .done()?;
    let folder = tempfile::tempdir()
        .map_err(|error| Failure::new(error.to_string(), "make room in the temporary folder"))?;
    let mut network = Run::new(tools::target(repo).join("release/daee-node"))
        .args(["dev", "--json", "--dir"])
        .args([folder.path()])
        .background()?;
    let ready = network.line()?;
    let endpoint = Endpoint::read(&ready).ok_or_else(|| {
        Failure::new(
            format!("no endpoint in {ready}"),
            "look at what `daee-node dev --json` prints",
        )
    })?;
    let mut report = Report::new("turn");
    measure(&mut report, &endpoint).map_err(|error| {
        Failure::new(
            format!("the endpoint did not answer: {error}"),
            "cargo run --bin daee-node -- dev",
        )
    })?;
    Ok(report)
}

fn measure(report: &mut Report, endpoint: &Endpoint) -> std::io::Result<()> {
    let mut connection = Connection::open(endpoint)?;
    for _ in 0..WARM_UP {
        connection.get()?;
    }
    let mut turns = Vec::with_capacity(TURNS);
    for _ in 0..TURNS {
        turns.push(connection.get()?);
    }
    turns.sort_unstable();
    let at = |share: f64| turns[((TURNS - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    report.figure("turn, median", at(0.5), "ms");
    report.figure("turn, 99th of 100", at(0.99), "ms");
    report.figure("turns, one connection", per_second(TURNS, turns.iter().sum()), "1/s");
    report.figure("turns, eight connections", many(endpoint)?, "1/s");
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a bench is there to read the clock")]
fn many(endpoint: &Endpoint) -> std::io::Result<f64> {
    let each = TURNS / CONNECTIONS;
    let client = || -> std::io::Result<()> {
        let mut connection = Connection::open(endpoint)?;
        (0..each).try_for_each(|_| connection.get().map(|_| ()))
    };
    let start = Instant::now();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(client)).collect();
        clients.into_iter().try_for_each(|one| one.join().expect("a client does not panic"))
    })?;
    Ok(per_second(each * CONNECTIONS, start.elapsed()))
}

fn per_second(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

/// Where an agent is reached: by a name that only the Host header carries, on this machine.
struct Endpoint {
    host: String,
    address: SocketAddr,
}

impl Endpoint {
    /// Reads `{"endpoint": "http://LABEL.localhost:PORT/...", ...}`.
    fn read(line: &str) -> Option<Endpoint> {
        let ready: Value = serde_json::from_str(line).ok()?;
        let host = ready["endpoint"].as_str()?.strip_prefix("http://")?.split('/').next()?;
        let port = host.rsplit_once(':')?.1.parse().ok()?;
        Some(Endpoint { host: host.to_owned(), address: SocketAddr::from(([127, 0, 0, 1], port)) })
    }
}

/// One kept-alive HTTP/1.1 connection: so little client that what is measured is the node.
struct Connection {
    stream: BufReader<TcpStream>,
    request: String,
}

impl Connection {
    fn open(endpoint: &Endpoint) -> std::io::Result<Connection> {
        let stream = TcpStream::connect(endpoint.address)?;
        stream.set_nodelay(true)?;
        let request = format!("GET /price HTTP/1.1\r\nhost: {}\r\n\r\n", endpoint.host);
        Ok(Connection { stream: BufReader::new(stream), request })
    }

    /// One request and its whole answer.
    #[expect(clippy::disallowed_methods, reason = "a bench is there to read the clock")]
    fn get(&mut self) -> std::io::Result<Duration> {
        let start = Instant::now();
        self.stream.get_mut().write_all(self.request.as_bytes())?;
        let mut length = 0;
        let mut line = String::new();
        loop {
            line.clear();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let lower = line.to_ascii_lowercase();
            if lower.starts_with("http/") && !lower.contains(" 200 ") {
                return Err(std::io::Error::other(line.trim().to_owned()));
            }
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(std::io::Error::other)?;
            }
            if lower == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(start.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_keeps_its_name_and_loses_its_path() {
        let endpoint = Endpoint::read(r#"{"endpoint":"http://a-1.localhost:8080/price"}"#).unwrap();
        assert_eq!(endpoint.host, "a-1.localhost:8080");
        assert_eq!(endpoint.address.to_string(), "127.0.0.1:8080");
        assert!(Endpoint::read(r#"{"endpoint":"https://a.localhost/"}"#).is_none());
        assert!(Endpoint::read("ready").is_none());
    }
}
