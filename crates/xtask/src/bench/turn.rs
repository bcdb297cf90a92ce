use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Report, build, disk};
use crate::failure::Failure;
use crate::run::{Background, Run};
use crate::tools;

/// All subjects take turns so often, so that what else the machine does is shared by all.
const ROUNDS: usize = 5;
const WARM_UP: usize = 100;
/// Requests of a subject in a round, over one connection and over eight together.
const TURNS: usize = 1_000;
const CONNECTIONS: usize = 8;

/// A chain, three nodes and a price source.
const PORTS: u16 = 5;

/// What a warm turn costs from outside: a request to the endpoint of a running agent, answered by it. Beside it the
/// same answer from a server of the same crate that knows no agents.
pub fn run(repo: &Path) -> Result<Report, Failure> {
    build(repo)?;
    let folder = tempfile::tempdir().map_err(disk)?;
    let peer = Run::new(tools::release(repo).join("examples/answer")).args([ANSWER]);
    let mut peer = peer.background()?;
    let network = Network::start(repo, &folder.path().join("network"))?;

    let agents = folder.path();
    let tiny = |durability: &str| -> Result<Endpoint, Failure> {
        let agent = agents.join(durability);
        write_tiny(&agent, durability).map_err(disk)?;
        network.up(&agent, "/")
    };
    let mut subjects = vec![
        Subject::new("server without agents", Endpoint::read(&peer.line()?, "/")?),
        Subject::new("tiny agent, checkpoint", tiny("checkpoint")?),
        Subject::new("tiny agent, local", tiny("local")?),
    ];
    let oracle = agents.join("oracle");
    write_oracle(&repo.join("docs/examples/oracle"), &oracle).map_err(disk)?;
    subjects.push(Subject::new("oracle, checkpoint", network.up(&oracle, "/price")?));

    for _ in 0..ROUNDS {
        for subject in &mut subjects {
            let round = subject.round();
            round.map_err(|error| {
                let name = subject.name;
                Failure::new(format!("{name} did not answer: {error}"), "cargo xtask bench turn")
            })?;
        }
    }
    Ok(report(subjects))
}

fn report(mut subjects: Vec<Subject>) -> Report {
    let mut report = Report::new("turn");
    for subject in &mut subjects {
        subject.turns.sort_unstable();
        let name = subject.name;
        report.figure(format!("{name}, median"), subject.at(0.5), "ms");
        report.figure(format!("{name}, 99th of 100"), subject.at(0.99), "ms");
        report.figure(format!("{name}, one connection"), subject.per_second(), "1/s");
        report.figure(format!("{name}, eight connections"), subject.eight_per_second(), "1/s");
    }
    let [bare, checkpoint, local, oracle] = &subjects[..] else { return report };
    for (above, below) in [(checkpoint, bare), (local, checkpoint), (oracle, checkpoint)] {
        let ratio = above.at(0.5) / below.at(0.5);
        report.ratio(format!("{} over {}", above.name, below.name), ratio);
    }
    report
}

/// A development network that runs nothing yet.
struct Network {
    _process: Background,
    dir: PathBuf,
    deploy: PathBuf,
}

impl Network {
    fn start(repo: &Path, dir: &Path) -> Result<Network, Failure> {
        let port = free_ports()?.to_string();
        let mut process = Run::new(tools::release(repo).join("daee-node"))
            .args(["dev", "--empty", "--json", "--port", &port, "--dir"])
            .args([dir])
            .background()?;
        process.line()?;
        let deploy = tools::release(repo).join("daee-deploy");
        Ok(Network { _process: process, dir: dir.to_owned(), deploy })
    }

    /// Deploys an agent and waits until a node runs it.
    fn up(&self, agent: &Path, path: &str) -> Result<Endpoint, Failure> {
        let said = Run::new(&self.deploy)
            .args(["--json", "--quiet", "--dir"])
            .args([&self.dir])
            .args(["up", "--max-rate", "250", "--pay", "300"])
            .args([agent])
            .text()?;
        Endpoint::read(&said, path)
    }
}

/// The first of some free ports in a row.
fn free_ports() -> Result<u16, Failure> {
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    (20_000..30_000)
        .step_by(PORTS.into())
        .find(|first| (*first..first + PORTS).all(free))
        .ok_or_else(|| Failure::new("no five free ports in a row", "end what listens on them"))
}

/// What the tiny agent and the server without agents answer.
const ANSWER: &str = "ok\n";

/// Takes its event and answers: a reactor as small as they come.
fn write_tiny(folder: &Path, durability: &str) -> std::io::Result<()> {
    #[rustfmt::skip]
    const MODULE: &[&[u8]] = &[
        b"\0asm\x01\0\0\0",
        // Types: (i32 i32 i32 i32) -> i32, (i32 i32) -> i32, () -> i32.
        b"\x01\x13\x03\x60\x04\x7f\x7f\x7f\x7f\x01\x7f\x60\x02\x7f\x7f\x01\x7f\x60\x00\x01\x7f",
        b"\x02\x19\x02\x04daee\x04call\x00\x00\x04daee\x04read\x00\x01",
        b"\x03\x02\x01\x02", // one function, of the third type
        b"\x05\x03\x01\x00\x01", // one page of memory
        b"\x07\x16\x02\x06memory\x02\x00\x09daee_turn\x00\x02",
        b"\x0a\x26\x01\x24\x00", // its code:
        b"\x41\x00\x41\x0a\x41\x00\x41\x00\x10\x00\x1a", // call(0, 10, 0, 0): event.next
        b"\x41\x80\x08\x41\x80\x80\x01\x10\x01\x1a", // read(1024, 16384)
        b"\x41\x0a\x41\x0c\x41\x16\x41\x09\x10\x00\x1a", // call(10, 12, 22, 9): event.answer
        b"\x41\x00\x0b", // 0
        b"\x0b\x25\x01\x00\x41\x00\x0b\x1f", // at 0: two names, and a frame with the answer
        b"event.nextevent.answer\x02\x00\x00\x00{}ok\n",
    ];
    let manifest = format!(
        "agent_id: \"bench.tiny-{durability}@v1.0.0\"\n\
         resources:\n  cpu: \"1\"\n  memory: \"16MiB\"\n\
         entry_point: \"tiny.wasm\"\n\
         artifact_hash: \"769c3217d371f86e26dbb06dbbefaaec400a13df92009c90e3f1ce5a54b1dabe\"\n\
         durability: {durability}\n"
    );
    fs::create_dir_all(folder)?;
    fs::write(folder.join("tiny.wasm"), MODULE.concat())?;
    fs::write(folder.join("agent.yaml"), manifest)
}

/// The oracle as it is committed, but that it fetches once, waits for no disk, and has a core for itself.
fn write_oracle(from: &Path, folder: &Path) -> std::io::Result<()> {
    let manifest = fs::read_to_string(from.join("agent.yaml"))?;
    let line = |line: &str| match line.trim_start() {
        text if text.starts_with("schedule:") => "durability: checkpoint\n".to_owned(),
        text if text.starts_with("cpu:") => "  cpu: \"1\"\n".to_owned(),
        _ => format!("{line}\n"),
    };
    let manifest: String = manifest.lines().map(line).collect();
    fs::create_dir_all(folder)?;
    fs::copy(from.join("oracle.wasm"), folder.join("oracle.wasm"))?;
    fs::write(folder.join("agent.yaml"), manifest)
}

struct Subject {
    name: &'static str,
    endpoint: Endpoint,
    turns: Vec<Duration>,
    eight: Duration,
}

impl Subject {
    fn new(name: &'static str, endpoint: Endpoint) -> Subject {
        Subject { name, endpoint, turns: Vec::new(), eight: Duration::ZERO }
    }

    fn round(&mut self) -> std::io::Result<()> {
        let mut connection = Connection::open(&self.endpoint)?;
        for _ in 0..WARM_UP {
            connection.get()?;
        }
        for _ in 0..TURNS {
            self.turns.push(connection.get()?);
        }
        self.eight += many(&self.endpoint)?;
        Ok(())
    }

    /// Milliseconds that this share of the turns took at most, once they are sorted.
    fn at(&self, share: f64) -> f64 {
        self.turns[((self.turns.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3
    }

    fn per_second(&self) -> f64 {
        self.turns.len() as f64 / self.turns.iter().sum::<Duration>().as_secs_f64()
    }

    fn eight_per_second(&self) -> f64 {
        (ROUNDS * TURNS) as f64 / self.eight.as_secs_f64()
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench is there to read the clock")]
fn many(endpoint: &Endpoint) -> std::io::Result<Duration> {
    let client = || -> std::io::Result<()> {
        let mut connection = Connection::open(endpoint)?;
        (0..TURNS / CONNECTIONS).try_for_each(|_| connection.get().map(|_| ()))
    };
    let start = Instant::now();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(client)).collect();
        clients.into_iter().try_for_each(|one| one.join().expect("a client does not panic"))
    })?;
    Ok(start.elapsed())
}

/// Where something answers: by a name that only the Host header carries, on this machine.
struct Endpoint {
    host: String,
    address: SocketAddr,
    path: String,
}

impl Endpoint {
    /// Reads `{"endpoint": "http://LABEL.localhost:PORT/...", ...}`.
    fn read(line: &str, path: &str) -> Result<Endpoint, Failure> {
        let read = || -> Option<Endpoint> {
            let said: Value = serde_json::from_str(line).ok()?;
            let host = said["endpoint"].as_str()?.strip_prefix("http://")?.split('/').next()?;
            let port = host.rsplit_once(':')?.1.parse().ok()?;
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            Some(Endpoint { host: host.to_owned(), address, path: path.to_owned() })
        };
        let what = || Failure::new(format!("no endpoint in {line}"), "look at who prints it");
        read().ok_or_else(what)
    }
}

/// One kept-alive HTTP/1.1 connection: so little client that what is measured is the other side.
struct Connection {
    stream: BufReader<TcpStream>,
    request: String,
}

impl Connection {
    fn open(endpoint: &Endpoint) -> std::io::Result<Connection> {
        let stream = TcpStream::connect(endpoint.address)?;
        stream.set_nodelay(true)?;
        let Endpoint { host, path, .. } = endpoint;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
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
    fn the_endpoint_keeps_its_name_and_takes_another_path() {
        let said = r#"{"endpoint":"http://a-1.localhost:8080/x"}"#;
        let endpoint = Endpoint::read(said, "/price").unwrap();
        assert_eq!(endpoint.host, "a-1.localhost:8080");
        assert_eq!(endpoint.address.to_string(), "127.0.0.1:8080");
        assert_eq!(endpoint.path, "/price");
        assert!(Endpoint::read(r#"{"endpoint":"https://a.localhost/"}"#, "/").is_err());
        assert!(Endpoint::read("ready", "/").is_err());
    }

    #[test]
    fn a_subject_is_its_median_and_what_it_does_in_a_second() {
        let endpoint = Endpoint::read(r#"{"endpoint":"http://localhost:80"}"#, "/").unwrap();
        let mut subject = Subject::new("it", endpoint);
        subject.turns = [1, 2, 9].map(Duration::from_millis).to_vec();
        assert_eq!((subject.at(0.5), subject.at(1.0)), (2.0, 9.0));
        assert_eq!(subject.per_second(), 250.0);
    }
}
