//! A development network in processes of its own, and what is asked of it from outside.

#![allow(dead_code, reason = "each test file uses its part of the kit")]

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use daee_chain::{Chain, ChainEvent, Contracts, Deployment, EventKind};
use daee_client::{Call, Deployer, Market, NetworkFile};
use daee_signer::Key;
use daee_types::{Address, DeploymentId, Rate};
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// What `daee-node dev --json` says.
#[derive(Clone, Debug, Deserialize)]
pub struct Ready {
    pub rpc: String,
    pub contracts: Contracts,
    pub nodes: Vec<NodeReady>,
    pub deployment: Option<DeploymentId>,
    pub agent_id: Option<String>,
    pub endpoint: Option<String>,
    pub network: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
pub struct NodeReady {
    pub name: String,
    pub account: Address,
    pub owner: Address,
    pub api: String,
    pub rate: Rate,
    pub pid: u32,
    pub config: PathBuf,
    pub key: PathBuf,
}

/// One network at a time: three nodes that compile at once are what two cores can bear.
static ALONE: LazyLock<Arc<Mutex<()>>> = LazyLock::new(Arc::default);

/// A running network; it ends with the value.
pub struct Network {
    dev: Child,
    /// Nodes that were started again.
    again: Vec<Child>,
    anvil: Option<Child>,
    dir: TempDir,
    pub ready: Ready,
    pub chain: Chain,
    pub market: Market,
    _alone: OwnedMutexGuard<()>,
}

impl Network {
    /// The chain in the process.
    pub async fn start(arguments: &[&str]) -> Self {
        Self::on(None, arguments).await
    }

    /// The same network on Anvil; none where Anvil is not installed, and a line that says so.
    pub async fn start_on_anvil(arguments: &[&str]) -> Option<Self> {
        let anvil = std::env::var_os("DAEE_ANVIL").map(PathBuf::from).filter(|path| path.exists());
        let Some(anvil) = anvil else {
            println!("skipped: DAEE_ANVIL names no Anvil; `cargo xtask test` installs it from npm");
            return None;
        };
        let port = free_ports(1);
        let mut child = command(&anvil)
            .args(["--port", &port.to_string(), "--block-time", "1", "--mixed-mining"])
            .args(["--chain-id", "31337", "--silent"])
            .stdin(Stdio::null())
            .spawn()
            .expect("Anvil starts");
        let url = format!("http://127.0.0.1:{port}");
        until("Anvil listens", Duration::from_secs(20), async || {
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        })
        .await;
        assert!(child.try_wait().expect("it can be watched").is_none(), "Anvil ended");
        Some(Self::on(Some((child, url)), arguments).await)
    }

    async fn on(anvil: Option<(Child, String)>, arguments: &[&str]) -> Self {
        let alone = ALONE.clone().lock_owned().await;
        let dir = tempfile::tempdir().expect("a folder");
        let port = free_ports(5);
        let mut dev = command(&program("daee-node"));
        dev.args(["dev", "--json", "--port", &port.to_string(), "--dir"]).arg(dir.path());
        if let Some((_, url)) = &anvil {
            dev.args(["--rpc", url]);
        }
        let errors = dir.path().join("dev.log");
        let mut dev = dev
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&errors).expect("a log"))
            .spawn()
            .expect("daee-node starts");
        let stdout = dev.stdout.take().expect("its output is a pipe");
        let line = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).expect("its output is text");
            line
        })
        .await
        .expect("reading does not panic");
        let ready: Ready = serde_json::from_str(&line).unwrap_or_else(|error| {
            let said = std::fs::read_to_string(&errors).unwrap_or_default();
            let logs = logs(dir.path());
            panic!("dev is not ready ({error}): {line}\n{said}\n{logs}")
        });
        let chain = Chain::connect(std::slice::from_ref(&ready.rpc), ready.contracts).await;
        let file = NetworkFile::load(&ready.network).expect("dev writes the network's file");
        let market = Market::connect(file).await.expect("the market is there");
        Self {
            dev,
            again: Vec::new(),
            anvil: anvil.map(|(child, _)| child),
            dir,
            chain: chain.expect("the chain answers"),
            ready,
            market,
            _alone: alone,
        }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The oracle's deployment.
    pub fn oracle(&self) -> DeploymentId {
        self.ready.deployment.expect("dev deployed the oracle")
    }

    pub fn key(&self, name: &str) -> Arc<Key> {
        let path = self.dir().join("keys").join(format!("{name}.key"));
        Arc::new(Key::load(path).expect("dev keeps its keys"))
    }

    /// The wallet that deployed the oracle.
    pub fn deployer(&self) -> Deployer {
        self.market.deployer(self.key("deployer"))
    }

    pub async fn deployment(&self, id: DeploymentId) -> Deployment {
        let read = self.chain.deployment(id).await.expect("the chain answers");
        read.expect("the deployment is known")
    }

    pub fn node(&self, account: Address) -> &NodeReady {
        let node = self.ready.nodes.iter().find(|node| node.account == account);
        node.expect("the account is one of the three")
    }

    /// GET at an agent's endpoint, through any of the nodes.
    pub async fn get(&self, endpoint: &str, path: &str) -> (u16, Value) {
        let node = self.market.node(&self.ready.nodes[0].api);
        match node.call(endpoint, &Call::get(path)).await {
            Ok(answer) => (
                answer.status.as_u16(),
                serde_json::from_slice(&answer.body).unwrap_or(Value::Null),
            ),
            Err(error) => (0, Value::String(error.to_string())),
        }
    }

    /// Every event of the market so far.
    pub async fn events(&self) -> Vec<ChainEvent> {
        let mut follower = self.chain.follow(None).poll_every(Duration::from_millis(50));
        let head = self.chain.head().await.expect("the chain answers").number;
        let mut all = Vec::new();
        loop {
            let step = follower.next().await.expect("events can be read");
            all.extend(step.events);
            if step.cursor.number >= head {
                return all;
            }
        }
    }

    /// Kinds of events of one deployment, in order.
    pub async fn events_of(&self, id: DeploymentId) -> Vec<EventKind> {
        let all = self.events().await;
        let of = all.into_iter().filter(|event| event.deployment() == Some(id));
        of.map(|event| event.kind).collect()
    }

    /// SIGKILL for a node's process.
    pub fn kill(&self, node: &NodeReady) {
        let done = command(Path::new("kill")).args(["-KILL", &node.pid.to_string()]).status();
        assert!(done.expect("kill runs").success(), "{} was not there", node.name);
    }

    /// Starts a node that was killed, as its operator would.
    pub async fn restart(&mut self, node: &NodeReady) {
        let log = File::create(self.dir().join(format!("{}-again.log", node.name))).expect("a log");
        let mut child = command(&program("daee-node"))
            .args(["run", "--json", "--until-stdin-closes", "--config"])
            .arg(&node.config)
            .arg("--key")
            .arg(&node.key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the node starts");
        let stdout = child.stdout.take().expect("its output is a pipe");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("its output is text");
        assert!(line.contains("api"), "{} is not up: {line}\n{}", node.name, logs(self.dir()));
        self.again.push(child);
    }

    /// Runs `daee-deploy` on this network; its exit code and what it printed.
    pub fn deploy(&self, arguments: &[&str]) -> (i32, String, String) {
        let done = command(&program("daee-deploy"))
            .arg("--dir")
            .arg(self.dir())
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("daee-deploy runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("its output is text");
        (done.status.code().unwrap_or(-1), text(done.stdout), text(done.stderr))
    }

    /// SIGINT for the whole network, as Ctrl-C sends it; how `dev` ended.
    pub fn interrupt(&mut self) -> std::process::ExitStatus {
        let pid = self.dev.id().to_string();
        let done = command(Path::new("kill")).args(["-INT", &pid]).status();
        assert!(done.expect("kill runs").success());
        self.dev.wait().expect("dev can be waited for")
    }

    /// The nodes' logs, for a test that failed.
    pub fn logs(&self) -> String {
        logs(self.dir())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for child in &mut self.again {
            drop(child.stdin.take());
        }
        // Asked first, so that it ends its own children.
        let pid = self.dev.id().to_string();
        let _ = command(Path::new("kill")).args(["-INT", &pid]).stderr(Stdio::null()).status();
        let _ = self.dev.wait();
        for child in self.again.iter_mut().chain(&mut self.anvil) {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
    }
}

/// Asks until there is an answer.
///
/// # Panics
/// If there is none within the time, which is far above what it takes.
pub async fn until<T>(what: &str, within: Duration, ask: impl AsyncFn() -> Option<T>) -> T {
    let looks = within.as_millis() / 100;
    for _ in 0..looks {
        if let Some(found) = ask().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not within {} s: {what}", within.as_secs());
}

/// A program of ours, built beside this test.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    let built = test.ancestors().nth(2).expect("target/PROFILE/deps").join(name);
    assert!(built.exists(), "{} is not built: cargo build --workspace --bins", built.display());
    built
}

/// Processes of these tests start here.
#[expect(clippy::disallowed_methods, reason = "processes of these tests start here")]
fn command(program: &Path) -> Command {
    Command::new(program)
}

/// The first of some ports in a row that nobody listens on. They lie below those that the kernel hands out, which
/// any connection of any test may get before they are listened on.
pub fn free_ports(count: u16) -> u16 {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 10_000;
    const PLACES: u32 = 1_000;
    // Other processes of tests begin elsewhere.
    let begin = std::process::id().wrapping_mul(2_654_435_761) >> 16;
    for _ in 0..PLACES {
        let place = begin.wrapping_add(ASKED.fetch_add(1, Ordering::Relaxed)) % PLACES;
        let first = u16::try_from(FIRST + place * 20).expect("it is a port");
        let free = |offset| TcpListener::bind(("127.0.0.1", first + offset)).is_ok();
        if (0..count).all(free) {
            return first;
        }
    }
    panic!("no {count} free ports in a row");
}

fn logs(dir: &Path) -> String {
    let mut out = String::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|ext| ext == "log") {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            out.push_str(&format!("--- {}\n{text}\n", path.display()));
        }
    }
    out
}
