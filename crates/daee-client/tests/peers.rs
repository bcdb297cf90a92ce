//! The same places as others have them: js-ipfs, whose RPC is Kubo's, the mock of the pinning service API by
//! its authors, and Kubo's own client beside ours. Where they cannot be had, that is said, and nothing is
//! proven.

mod kit;

use std::{
    env, fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use daee_client::{Authorization, Kept, Parcel, Patience, Place, hand_out};
use daee_http::{
    Bytes, Client, Limits, Roots, Server, ServerLimits,
    axum::{Router, http::HeaderMap, routing::post},
    bind,
};
use daee_testkit::{Process, Program, TempDir};
use daee_types::Coded as _;
use serde_json::{Value, json};

use kit::kubo::Cutter;

const QUICK: Patience = Patience {
    attempts_max: 3,
    pause: Duration::from_millis(1),
    pause_max: Duration::from_millis(2),
    poll_every: Duration::from_millis(50),
    pin_time: Duration::from_secs(60),
};
const READY: Duration = Duration::from_secs(60);

/// A folder with the peers, which is made once.
fn peers() -> Option<&'static Path> {
    static PEERS: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match PEERS.get_or_init(install) {
        Ok(folder) => Some(folder),
        Err(why) => {
            // Not with a macro, whose lines a passing test keeps to itself.
            let _ = writeln!(io::stderr(), "skipped: the peers cannot be had: {why}");
            None
        }
    }
}

fn install() -> Result<PathBuf, String> {
    let npm = program("npm").ok_or("there is no npm")?;
    program("node").ok_or("there is no node")?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../peers/publish");
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
    for name in ["newer.mjs", "ipfs.mjs", "pinning.mjs", "client.mjs"] {
        fs::copy(from.join(name), folder.join(name)).map_err(|error| error.to_string())?;
    }
    let wanted = fs::read(from.join("package.json")).map_err(|error| error.to_string())?;
    let done = folder.join("installed.json");
    if fs::read(&done).is_ok_and(|installed| installed == wanted) {
        return Ok(folder);
    }
    fs::write(folder.join("package.json"), &wanted).map_err(|error| error.to_string())?;
    let arguments = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"];
    let ended = Program::new(npm).args(arguments).folder(&folder).run(Duration::from_secs(600));
    if ended.code != Some(0) {
        return Err(ended.stderr.lines().last().unwrap_or("npm does not say why").to_owned());
    }
    fs::write(done, wanted).map_err(|error| error.to_string())?;
    Ok(folder)
}

fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// One of the scripts, and where it listens.
fn start(folder: &Path, script: &str, argument: &str) -> (Process, String) {
    let node = program("node").expect("it was there");
    let mut process = Program::new(node).args([script, argument]).folder(folder).start();
    let url = process.ready(READY)["url"].as_str().expect("it says where it is").to_owned();
    (process, url)
}

/// A packed agent with a module of some MiB, and the module.
fn packed(mib: usize) -> (TempDir, Parcel, Vec<u8>) {
    let folder = daee_testkit::folder();
    let filler: String =
        (0..mib << 20).map(|at| char::from(b'a' + (at >> 18) as u8 % 26)).collect();
    let module = format!(
        r#"(module (@custom "filler" "{filler}") (memory (export "memory") 1)
            (func (export "daee_turn") (result i32) (i32.const 0)))"#
    );
    let module = wat::parse_str(module).unwrap();
    fs::write(folder.path().join("a.wasm"), &module).unwrap();
    let yaml = "agent_id: \"acme.agent@v1.0.0\"\nresources:\n  cpu: \"100m\"\n  memory: \"64MiB\"\n\
                entry_point: \"a.wasm\"\nartifact_hash: \"\"\n";
    fs::write(folder.path().join("agent.yaml"), yaml).unwrap();
    let parcel = Parcel::pack(folder.path(), None).unwrap().package;
    (folder, parcel, module)
}

async fn hand(parcel: &Parcel, place: Place) -> Result<Kept, daee_client::PublishError> {
    let http = Client::new(&Roots::none()).unwrap();
    let mut handed = hand_out(&http, parcel, &[place], &[], &QUICK, |_, _| {}).await;
    handed.remove(0).outcome
}

fn kubo(url: &str) -> Place {
    Place::Kubo { url: url.to_owned(), authorization: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ipfs_node_keeps_what_it_is_sent_and_gives_it_back_as_a_file() {
    let Some(folder) = peers() else { return };
    let repo = daee_testkit::folder();
    let (_process, url) = start(folder, "ipfs.mjs", repo.path().join("r").to_str().unwrap());
    let port = url.rsplit_once(':').unwrap().1.parse().unwrap();

    // One block, then several of which half come in a second try.
    for (mib, line) in [(0, None), (6, Some(Cutter::to(port, 4 << 20, 1).await))] {
        let (_folder, parcel, module) = packed(mib);
        let at = line.as_ref().map_or(url.clone(), Cutter::url);
        let kept = hand(&parcel, kubo(&at)).await.unwrap();
        assert_eq!(kept.attempts, if line.is_some() { 2 } else { 1 });
        assert!(kept.bytes_sent >= parcel.car().bytes());
        let again = hand(&parcel, kubo(&url)).await.unwrap();
        assert_eq!(again, Kept { bytes_sent: 0, attempts: 1 });
        for (cid, expected) in [(parcel.cid(), Some(&module)), (parcel.car().roots()[1], None)] {
            let read = format!("{url}/api/v0/cat?arg={cid}");
            let http = Client::new(&Roots::none()).unwrap();
            let limits =
                Limits { body_bytes_max: daee_types::ByteSize::mib(16), ..Limits::default() };
            let answer = http.post(&read, "text/plain", Bytes::new(), &limits).await.unwrap();
            assert_eq!(answer.status, 200, "{cid}");
            assert!(expected.is_none_or(|expected| answer.body == *expected), "{cid}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinning_service_is_asked_waited_for_and_asked_no_second_time() {
    let Some(folder) = peers() else { return };
    let (_process, url) = start(folder, "pinning.mjs", "open");
    let (_folder, parcel, _) = packed(0);
    let place = |token: &str| Place::Pinning {
        url: url.clone(),
        token: Authorization::bearer(token).unwrap(),
    };
    let error = hand(&parcel, place("wrong")).await.unwrap_err();
    assert_eq!(error.code(), "DAEE-I041");
    assert!(error.to_string().contains("DAEE_PIN_TOKEN"), "{error}");

    // Somebody at the service has it done once all three are asked for.
    let http = Client::new(&Roots::none()).unwrap();
    let (pins, done) = (format!("{url}/pins"), format!("{url}/pins?status=pinned"));
    let open = ("authorization", "Bearer open");
    let count = async |url: &str| {
        let answer = http
            .send("GET".parse().unwrap(), url, &[open], Bytes::new(), &Limits::default())
            .await
            .unwrap();
        serde_json::from_slice::<Value>(&answer.body).unwrap()
    };
    let operator = async {
        let queued = format!("{url}/pins?status=queued");
        while count(&queued).await["count"] != 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for cid in parcel.car().roots() {
            let pin = json!({"cid": cid.to_string(), "name": "pinned-by-hand"}).to_string();
            let headers = [open, ("content-type", "application/json")];
            let (method, limits) = ("POST".parse().unwrap(), Limits::default());
            let sent = http.send(method, &pins, &headers, pin.into(), &limits);
            assert_eq!(sent.await.unwrap().status, 202);
        }
    };
    let (kept, ()) = tokio::join!(hand(&parcel, place("open")), operator);
    assert_eq!(kept.unwrap(), Kept { bytes_sent: 0, attempts: 1 });
    let before = count(&done).await;
    assert_eq!(before["count"], 3);
    let first = &before["results"][0]["pin"];
    assert_eq!(first["name"], "acme.agent@v1.0.0 artifact");
    assert_eq!(first["meta"]["agent_id"], "acme.agent@v1.0.0");
    hand(&parcel, place("open")).await.unwrap();
    assert_eq!(count(&done).await, before, "the same requests");
}

/// What a server was sent: path, the part's headers in order of their names, and the part's content.
type Heard = Arc<Mutex<Vec<(Vec<(String, String)>, Bytes)>>>;

#[tokio::test(flavor = "multi_thread")]
async fn an_import_is_sent_as_kubos_own_client_sends_it() {
    let Some(folder) = peers() else { return };
    let (agent, parcel, _) = packed(0);
    let heard = Heard::default();
    let (kept, roots) = (heard.clone(), parcel.car().roots().map(|cid| cid.to_string()));
    let import = move |headers: HeaderMap, body: Bytes| async move {
        kept.lock().unwrap().push(part(&headers, &body));
        let line = |cid| format!("{}\n", json!({"Root": {"Cid": {"/": cid}, "PinErrorMsg": ""}}));
        roots.iter().map(line).collect::<String>()
    };
    let no =
        || async { (daee_http::http::StatusCode::INTERNAL_SERVER_ERROR, "{\"Message\":\"no\"}") };
    let routes = Router::new()
        .route("/api/v0/version", post(|| async { "{\"Version\":\"0.39.0\"}" }))
        .route("/api/v0/dag/import", post(import))
        .fallback(no);
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let server = Server::start(listener, routes, ServerLimits::default());
    let url = format!("http://{}", server.address());

    hand(&parcel, kubo(&url)).await.unwrap();
    let car = agent.path().join("a.car");
    let arguments = ["client.mjs", &url, car.to_str().unwrap()];
    let client = Program::new(program("node").unwrap()).args(arguments).folder(folder);
    let ended = tokio::task::spawn_blocking(move || client.run(READY)).await.unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout.lines().count(), 3, "{}", ended.stdout);

    let heard = heard.lock().unwrap().clone();
    let [ours, theirs] = &heard[..] else { panic!("{} imports", heard.len()) };
    assert_eq!(ours.0, theirs.0);
    assert!(ours.1 == theirs.1 && ours.1 == fs::read(car).unwrap(), "the same file");
}

/// The one part of a form: its headers without the file's name, and its content.
fn part(headers: &HeaderMap, body: &Bytes) -> (Vec<(String, String)>, Bytes) {
    let kind = headers["content-type"].to_str().unwrap();
    let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
    let at = body.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = std::str::from_utf8(&body[..at]).unwrap();
    let head = head.strip_prefix(&format!("--{boundary}\r\n")).unwrap();
    let mut all: Vec<(String, String)> = head
        .lines()
        .map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            let value = value.split("; filename=").next().unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        })
        .collect();
    all.sort();
    let end = format!("\r\n--{boundary}--\r\n");
    assert!(body.ends_with(end.as_bytes()));
    (all, body.slice(at + 4..body.len() - end.len()))
}
