//! Places of others: a Kubo-style RPC that keeps what it is sent block by block, a pinning service, and a
//! line to either that can be cut in the middle.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use daee_artifact::{Cid, FileLayout};
use daee_http::{
    Bytes, Server, ServerLimits,
    axum::{
        Router,
        body::Body,
        extract::{DefaultBodyLimit, Path, RawQuery, State},
        response::Response,
        routing::{get, post},
    },
    bind, json_answer,
};
use daee_types::{ByteSize, sha256};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

#[derive(Default)]
pub struct Shelf {
    pub blocks: BTreeMap<String, Bytes>,
    pub pins: BTreeSet<String>,
    /// Bytes of each import, as far as they came.
    pub imports: Vec<u64>,
    /// How many requests are answered with 503 before any other.
    pub unavailable: u32,
    /// Peers that it was connected to.
    pub connected: Vec<String>,
}

pub struct TestKubo {
    server: Server,
    shelf: Arc<Mutex<Shelf>>,
}

type Shared = State<Arc<Mutex<Shelf>>>;

impl TestKubo {
    pub async fn start() -> Self {
        let shelf = Arc::new(Mutex::new(Shelf::default()));
        let routes = Router::new()
            .route("/api/v0/dag/import", post(import).layer(DefaultBodyLimit::disable()))
            .route("/api/v0/{a}", post(ask))
            .route("/api/v0/{a}/{b}", post(ask))
            .with_state(shelf.clone());
        let limits = ServerLimits { body_bytes_max: ByteSize::gib(2), ..ServerLimits::default() };
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        Self { server: Server::start(listener, routes, limits), shelf }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    pub fn port(&self) -> u16 {
        self.server.address().port()
    }

    pub fn say<T>(&self, change: impl FnOnce(&mut Shelf) -> T) -> T {
        change(&mut self.shelf.lock().unwrap())
    }
}

async fn ask(
    State(shelf): Shared,
    uri: daee_http::http::Uri,
    RawQuery(query): RawQuery,
) -> Response {
    let mut shelf = shelf.lock().unwrap();
    if shelf.unavailable > 0 {
        shelf.unavailable -= 1;
        return json_answer(503, &"later");
    }
    let query = query.unwrap_or_default();
    let arg = query.strip_prefix("arg=").and_then(|rest| rest.split('&').next()).unwrap_or("");
    let no = |why: &str| json_answer(500, &json!({"Message": why, "Code": 0, "Type": "error"}));
    match uri.path().trim_start_matches("/api/v0/") {
        "version" => json_answer(200, &json!({"Version": "0.39.0"})),
        "id" => json_answer(200, &json!({"Addresses": ["/ip4/192.0.2.1/tcp/4001/p2p/QmKubo"]})),
        "pin/ls" if shelf.pins.contains(arg) => {
            json_answer(200, &json!({"Keys": {arg: {"Type": "recursive"}}}))
        }
        "pin/ls" => no("is not pinned"),
        "block/stat" if shelf.blocks.contains_key(arg) => {
            json_answer(200, &json!({"Key": arg, "Size": 1}))
        }
        "block/stat" => no("block was not found locally"),
        "swarm/connect" => {
            shelf.connected.push(arg.replace("%2F", "/"));
            json_answer(200, &json!({"Strings": []}))
        }
        _ => json_answer(404, &"no"),
    }
}

/// Keeps each block as soon as it is whole, as Kubo does, and pins in the end.
async fn import(State(shelf): Shared, body: Body) -> Response {
    let place = {
        let mut shelf = shelf.lock().unwrap();
        shelf.imports.push(0);
        shelf.imports.len() - 1
    };
    let (mut stream, mut buffer, mut car) = (body.into_data_stream(), Vec::new(), Vec::new());
    let mut roots = Vec::new();
    let mut in_file = false;
    while let Some(piece) = stream.next().await {
        let Ok(piece) = piece else { return json_answer(500, &"cut") };
        let mut shelf = shelf.lock().unwrap();
        shelf.imports[place] += piece.len() as u64;
        buffer.extend_from_slice(&piece);
        if !in_file {
            let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            buffer.drain(..at + 4);
            in_file = true;
        }
        car.append(&mut buffer);
        while let Some((len, rest)) = varint(&car)
            && car.len() - rest >= len
            // What ends the form is shorter than any entry.
            && len >= 36
        {
            let entry: Vec<u8> = car[rest..rest + len].to_vec();
            if roots.is_empty() {
                // Three roots, each behind five bytes, in a header whose first eight are known.
                let cid = |n: usize| text(&entry[8 + n * 41 + 5..][..36]);
                roots = (0..3).map(cid).collect();
            } else {
                let block = &entry[36..];
                assert_eq!(sha256(block), entry[4..36], "a block is what its CID names");
                shelf.blocks.insert(text(&entry[..36]), Bytes::copy_from_slice(block));
            }
            car.drain(..rest + len);
        }
    }
    let mut shelf = shelf.lock().unwrap();
    let mut lines = String::new();
    for root in &roots {
        let below = shelf.blocks.get(root).and_then(|block| FileLayout::read(block).ok());
        let leaves: Vec<String> = below
            .iter()
            .flat_map(|layout| layout.leaves())
            .map(|(cid, _)| cid.to_string())
            .collect();
        let all = leaves.iter().chain([root]).all(|cid| shelf.blocks.contains_key(cid));
        let problem = if all { "" } else { "block was not found locally" };
        if all {
            shelf.pins.insert(root.clone());
        }
        let line = json!({"Root": {"Cid": {"/": root}, "PinErrorMsg": problem}});
        lines.push_str(&format!("{line}\n"));
    }
    Response::new(Body::from(lines))
}

fn text(cid: &[u8]) -> String {
    daee_artifact::ArtifactCid::from_bytes(cid).unwrap().to_string()
}

/// A number and how many bytes it takes; nothing if it is not whole, or the end of the form.
fn varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (n, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return Some((value, n + 1));
        }
    }
    None
}

/// A line to a server of this machine, which breaks each connection off that brings more than some bytes,
/// as often as is said.
pub struct Cutter {
    port: u16,
    cuts: Arc<AtomicU64>,
}

impl Cutter {
    pub async fn to(port: u16, after: u64, cuts: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap().port();
        let cuts = Arc::new(AtomicU64::new(cuts));
        let left = cuts.clone();
        tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                let left = left.clone();
                tokio::spawn(async move {
                    let to = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    let (mut from_read, mut from_write) = from.into_split();
                    let (mut to_read, mut to_write) = to.into_split();
                    let up = async {
                        let (mut buffer, mut all) = (vec![0; 64 << 10], 0);
                        while let Ok(len @ 1..) = from_read.read(&mut buffer).await {
                            all += len as u64;
                            let take = |left: u64| left.checked_sub(1);
                            if all > after
                                && left
                                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
                                    .is_ok()
                            {
                                return;
                            }
                            if to_write.write_all(&buffer[..len]).await.is_err() {
                                return;
                            }
                        }
                        std::future::pending::<()>().await;
                    };
                    let down = tokio::io::copy(&mut to_read, &mut from_write);
                    tokio::select! { () = up => {}, _ = down => {} }
                });
            }
        });
        Self { port: here, cuts }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn cuts_left(&self) -> u64 {
        self.cuts.load(Ordering::SeqCst)
    }
}

/// What a service has been asked for, by CID.
#[derive(Default)]
pub struct Ledger {
    pub asked: Vec<Value>,
    /// What is answered of each: states in turn, the last one for good.
    pub states: Vec<&'static str>,
    pub looks: u32,
}

pub struct TestPinning {
    server: Server,
    ledger: Arc<Mutex<Ledger>>,
}

impl TestPinning {
    pub async fn start(states: &[&'static str]) -> Self {
        let ledger = Ledger { states: states.to_vec(), ..Ledger::default() };
        let ledger = Arc::new(Mutex::new(ledger));
        let routes = Router::new()
            .route("/pins", get(list).post(add))
            .route("/pins/{request}", get(look))
            .with_state(ledger.clone());
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        Self { server: Server::start(listener, routes, ServerLimits::default()), ledger }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    pub fn say<T>(&self, change: impl FnOnce(&mut Ledger) -> T) -> T {
        change(&mut self.ledger.lock().unwrap())
    }
}

fn standing(ledger: &Ledger, number: usize) -> Value {
    let at = (ledger.looks as usize).min(ledger.states.len() - 1);
    json!({
        "requestid": number.to_string(), "status": ledger.states[at],
        "created": "2026-11-24T00:00:00Z", "pin": ledger.asked[number],
        "delegates": ["/ip4/192.0.2.2/tcp/4001/p2p/QmService"],
        "info": {"status_details": "no peer has it"},
    })
}

async fn list(State(ledger): State<Arc<Mutex<Ledger>>>, RawQuery(query): RawQuery) -> Response {
    let ledger = ledger.lock().unwrap();
    let query = query.unwrap_or_default();
    let mine = |number: &usize| query.contains(ledger.asked[*number]["cid"].as_str().unwrap());
    let results: Vec<Value> =
        (0..ledger.asked.len()).filter(mine).map(|number| standing(&ledger, number)).collect();
    json_answer(200, &json!({"count": results.len(), "results": results}))
}

async fn add(State(ledger): State<Arc<Mutex<Ledger>>>, body: Bytes) -> Response {
    let mut ledger = ledger.lock().unwrap();
    ledger.asked.push(serde_json::from_slice(&body).unwrap());
    json_answer(202, &standing(&ledger, ledger.asked.len() - 1))
}

async fn look(State(ledger): State<Arc<Mutex<Ledger>>>, Path(request): Path<usize>) -> Response {
    let mut ledger = ledger.lock().unwrap();
    ledger.looks += 1;
    json_answer(200, &standing(&ledger, request))
}

/// A CID of nothing that anybody was sent.
pub fn another() -> String {
    Cid::of(b"something else").to_string()
}
