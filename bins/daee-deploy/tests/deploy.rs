//! Runs the program as a shell or a script does: arguments and files in, exit code and output back.

use std::{fs, path::PathBuf, time::Duration};

use daee_artifact::{Cid, package};
use daee_client::{NetworkFile, Windows};
use daee_http::{
    Bytes, Server, ServerLimits,
    axum::{
        Router,
        http::{HeaderMap, Method, Uri},
        routing::post,
    },
    bind, json_answer, ndjson_answer,
};
use daee_lifecycle::ContentAnswer;
use daee_signer::Key;
use daee_testkit::{Ended, Program, TempDir, TestChain, closed_port, folder};
use daee_types::Sign as _;
use serde_json::Value;

const MODULE: &str = r#"(module (memory (export "memory") 1)
    (func (export "daee_turn") (result i32) (i32.const 0)))"#;
const MANIFEST: &str = "agent_id: \"acme.agent@v1.0.0\"
resources:
  cpu: \"100m\"
  memory: \"64MiB\"
entry_point: \"a.wasm\"
artifact_hash: \"\" # to be filled
";

/// A folder with an agent, and with the network and key of a development network where a test wants it.
struct Here(TempDir);

impl Here {
    fn new() -> Self {
        let here = Self(folder());
        fs::create_dir_all(here.path("agent")).unwrap();
        fs::create_dir_all(here.path("keys")).unwrap();
        fs::write(here.path("agent/a.wasm"), wat::parse_str(MODULE).unwrap()).unwrap();
        fs::write(here.path("agent/agent.yaml"), MANIFEST).unwrap();
        here
    }

    async fn on(chain: &TestChain, gateways: Vec<String>) -> Self {
        let here = Self::new();
        chain.key(0).save(here.path("keys/deployer.key")).unwrap();
        let windows = Windows { bid: 60, start: 60, interval: 10, grace: 10, open: 20 };
        let file = NetworkFile {
            rpc: vec![chain.url()],
            contracts: chain.contracts(),
            gateways,
            zone: "localhost".to_owned(),
            gateway_port: Some(8080),
            windows,
        };
        file.save(&here.path("network.json")).unwrap();
        here
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn program(&self, args: &[&str]) -> Program {
        Program::new(env!("CARGO_BIN_EXE_daee-deploy")).args(args).folder(self.0.path())
    }

    async fn run(&self, args: &[&str]) -> Ended {
        let program = self.program(args);
        let run = move || program.run(Duration::from_secs(120));
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    /// One object with `--json`.
    async fn json(&self, args: &[&str], exit: i32) -> Value {
        let ended = self.run(&[args, &["--json"]].concat()).await;
        assert_eq!(ended.code, Some(exit), "{args:?}: {}{}", ended.stdout, ended.stderr);
        assert_eq!(ended.stdout.lines().count(), 1, "{args:?}: {}", ended.stdout);
        serde_json::from_str(&ended.stdout).unwrap()
    }

    /// Exit code, and what standard error must say.
    async fn check(&self, args: &[&str], exit: i32, says: &[&str]) {
        let ended = self.run(args).await;
        assert_eq!(ended.code, Some(exit), "{args:?}: {}{}", ended.stdout, ended.stderr);
        for part in says {
            assert!(ended.stderr.contains(part), "{args:?}: {part} is not in {}", ended.stderr);
        }
    }
}

/// A node that takes content, and nothing else.
async fn content_node() -> Server {
    let routes = Router::new().route(
        "/v1/content",
        post(async |body: Bytes| {
            let read = package::read(&body).unwrap();
            let cids = [read.artifact_cid, Cid::of(&read.body), Cid::of(&read.yaml)];
            let roots = cids.iter().map(ToString::to_string).collect();
            json_answer(200, &ContentAnswer { roots, blocks: 3 })
        }),
    );
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    Server::start(listener, routes, ServerLimits::default())
}

/// A Kubo-style RPC and a pinning service on one port, each behind its secret; they keep nothing.
async fn other_places(roots: Vec<String>) -> Server {
    let answer = async move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
        let secret = headers.get("authorization").and_then(|value| value.to_str().ok());
        let rpc = uri.path().starts_with("/api/v0/");
        let opens = if rpc { "Basic bWU6c2VzYW1l" } else { "Bearer open" };
        if secret != Some(opens) {
            return json_answer(401, &serde_json::json!({"error": {"reason": "UNAUTHORIZED"}}));
        }
        match (method.as_str(), uri.path()) {
            ("POST", "/pins") => {
                let pin: Value = serde_json::from_slice(&body).unwrap();
                let status = serde_json::json!({
                    "requestid": "1", "status": "pinned", "created": "", "pin": pin, "delegates": [],
                });
                json_answer(202, &status)
            }
            ("GET", "/pins") => json_answer(200, &serde_json::json!({"count": 0, "results": []})),
            (_, "/api/v0/version") => json_answer(200, &serde_json::json!({"Version": "0.39.0"})),
            (_, "/api/v0/dag/import") => {
                let line = |cid| serde_json::json!({"Root": {"Cid": {"/": cid}}});
                ndjson_answer(futures_util::stream::iter(roots.into_iter().map(line)))
            }
            _ => json_answer(500, &serde_json::json!({"Message": "not here"})),
        }
    };
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    Server::start(listener, Router::new().fallback(answer), ServerLimits::default())
}

#[tokio::test]
async fn an_agent_is_checked_packed_and_checked_again() {
    let here = Here::new();
    let found = here.json(&["check", "agent"], 1).await;
    assert_eq!(found["verdict"], "findings");
    assert_eq!(found["findings"][0]["rule"], "DAEE-M018");
    assert_eq!(found["findings"][0]["line"], 6);

    let packed = here.json(&["pack", "agent"], 0).await;
    assert_eq!(packed["filled"], true);
    assert!(here.path("agent/a.car").exists());
    let yaml = fs::read_to_string(here.path("agent/agent.yaml")).unwrap();
    let comments = format!("\" # to be filled\n# cid: {}\n", packed["cid"].as_str().unwrap());
    assert!(yaml.ends_with(&comments), "{yaml}");

    for path in ["agent", "agent/agent.yaml", "agent/a.car"] {
        let found = here.json(&["check", path], 0).await;
        assert_eq!(found["verdict"], "verified");
        assert_eq!(found["facts"]["artifact_hash"], packed["artifact_hash"]);
    }
    let text = here.run(&["check", "agent"]).await;
    assert!(text.stdout.ends_with("verified\n"), "{}", text.stdout);
    assert!(!text.stdout.contains('\x1b'), "colour is for terminals");
}

#[tokio::test]
async fn files_come_along_in_the_module() {
    let here = Here::new();
    let before = here.json(&["pack", "agent"], 0).await;
    fs::create_dir_all(here.path("files/lib")).unwrap();
    fs::write(here.path("files/lib/main.py"), "print(1)").unwrap();
    let packed = here.json(&["pack", "agent", "--files", "files"], 0).await;
    assert_ne!(packed["artifact_hash"], before["artifact_hash"]);
    assert_eq!(here.json(&["pack", "agent", "--files", "files"], 0).await["filled"], false);
    let found = here.json(&["check", "agent/a.car"], 0).await;
    assert_eq!(found["facts"]["artifact_hash"], packed["artifact_hash"]);
    std::os::unix::fs::symlink("lib", here.path("files/link")).unwrap();
    let said = ["DAEE-U008", "files/link cannot be brought along", "copy what it stands for"];
    here.check(&["pack", "agent", "--files", "files"], 1, &said).await;
}

#[tokio::test]
async fn what_is_missing_is_named_with_the_option_that_gives_it() {
    let here = Here::new();
    here.json(&["pack", "agent"], 0).await;
    here.check(&["status", "1"], 2, &["which network?", "`--network FILE`", "DAEE_NETWORK"]).await;
    here.check(&["stop", "1"], 2, &["which wallet?", "`--key FILE`", "DAEE_KEY"]).await;
    here.check(&["list"], 2, &["whose deployments?", "`--all`"]).await;
    here.check(&["list", "--dir", "nowhere"], 2, &["DAEE-S012", "nowhere/keys/deployer.key"]).await;
    here.check(&["list", "--all", "--dir", "nowhere"], 2, &["nowhere/network.json"]).await;
    here.check(&["up", "agent"], 2, &["--max-rate"]).await;
    here.check(&["up", "agent", "--max-rate", "0,5"], 2, &["is not an amount"]).await;
    here.check(&["topup", "1", "1.0000000000000000001"], 2, &["more than 18 digits"]).await;
    let unread = here.json(&["check", "nothing"], 2).await;
    assert_eq!(unread["verdict"], "error");
    assert!(unread["findings"][0]["message"].as_str().unwrap().contains("nothing cannot be read"));
    here.check(&["pack", "nothing"], 2, &["DAEE-U001", "nothing cannot be read"]).await;
    fs::write(here.path("network.json"), "{}").unwrap();
    here.check(&["list", "--all", "--dir", "."], 2, &["DAEE-U011", "is not a network file"]).await;
}

#[tokio::test]
async fn a_key_that_others_can_read_is_refused_and_never_shown() {
    use std::os::unix::fs::PermissionsExt as _;
    let here = Here::new();
    let secret = "11".repeat(32);
    let path = here.path("open.key");
    fs::write(&path, &secret).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let ended = here.run(&["list", "--key", "open.key"]).await;
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("chmod 600"), "{}", ended.stderr);
    // One in the place of a path is not shown as a file that is not there.
    for text in [secret.clone(), format!("0x{secret}")] {
        let ended = here.run(&["list", "--json", "--key", &text]).await;
        assert_eq!(ended.code, Some(2));
        assert!(ended.stderr.contains("not the path of a key file"), "{}", ended.stderr);
        assert!(!ended.stderr.contains(&secret) && !ended.stdout.contains(&secret));
    }
}

#[tokio::test]
async fn a_failure_is_one_object_too() {
    let here = Here::new();
    fs::write(here.path("agent/a.wasm"), b"\0asm\x0d\0\x01\0").unwrap();
    let failed = here.json(&["pack", "agent"], 1).await;
    assert_eq!(failed["error"]["code"], "DAEE-U002");
    assert_eq!(failed["findings"][0]["level"], "error");
    assert_eq!(failed["error"]["fault"], "developer");
    assert_eq!(failed["findings"][0]["rule"], "DAEE-A021");
    let failed = here.json(&["status", "1"], 2).await;
    assert_eq!(failed["error"]["code"], "DAEE-Y001");
}

#[tokio::test]
async fn a_package_is_published_to_named_nodes_without_a_network() {
    let here = Here::new();
    here.json(&["pack", "agent"], 0).await;
    let node = content_node().await;
    let url = format!("http://{}", node.address());
    let down = format!("http://{}", closed_port().await);
    here.json(&["publish", "agent/a.car", "--node", &url], 0).await;

    // Who is named has to take it, and the others take it all the same.
    let both = ["publish", "agent/a.car", "--attempts", "1", "--node", &url, "--node", &down];
    let published = here.json(&both, 1).await;
    assert_eq!(published["published"], serde_json::json!([url]));
    assert!(published["refused"][0].as_str().unwrap().contains(&down));
    assert_eq!(published["places"][0]["attempts"], 1);
    assert_eq!(published["places"][1]["kind"], "node");
    assert_eq!(published["places"][1]["error"]["code"], "DAEE-U020");
    let again = format!("`daee-deploy publish agent/a.car --node {down}`");
    here.check(&both, 1, &["published", "refused", &down, &again]).await;
}

#[tokio::test]
async fn one_command_reaches_every_kind_of_place_with_secrets_that_nobody_sees() {
    let here = Here::new();
    let packed = here.json(&["pack", "agent"], 0).await;
    let roots = daee_client::Parcel::read(&here.path("agent/a.car")).unwrap();
    let roots = roots.car().roots().map(|cid| cid.to_string());
    let (node, other) = (content_node().await, other_places(roots.to_vec()).await);
    let (node, other) =
        (format!("http://{}", node.address()), format!("http://{}", other.address()));

    let all = ["publish", "agent", "--node", &node, "--kubo", &other, "--pin", &other];
    let run = async |secrets: &[(&str, &str)], args: &[&str]| {
        let mut program = here.program(&[&all[..], args, &["--json", "--attempts", "1"]].concat());
        for (name, value) in secrets {
            program = program.env(name, value);
        }
        tokio::task::spawn_blocking(move || program.run(Duration::from_secs(60))).await.unwrap()
    };
    let secrets = [("DAEE_KUBO_AUTH", "basic:me:sesame"), ("DAEE_PIN_TOKEN", "open")];
    let ended = run(&secrets, &[]).await;
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let shown: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(shown["published"], serde_json::json!([node, other, other]));
    assert_eq!(shown["cid"], packed["cid"]);

    // Without its secret a place refuses, and what it is called with is never shown.
    let ended = run(&[("DAEE_PIN_TOKEN", "opened")], &[]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let shown: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(shown["published"], serde_json::json!([node]));
    for part in ["DAEE-I034", "DAEE-I041"] {
        assert!(ended.stdout.contains(part), "{}", ended.stdout);
    }
    assert!(!ended.stdout.contains("opened") && !ended.stderr.contains("opened"));

    use std::os::unix::fs::PermissionsExt as _;
    let token = here.path("token");
    fs::write(&token, "open\n").unwrap();
    for (mode, code, says) in [(0o644, 2, "chmod 600"), (0o600, 0, "")] {
        fs::set_permissions(&token, fs::Permissions::from_mode(mode)).unwrap();
        let ended = run(&secrets[..1], &["--pin-token-file", "token"]).await;
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
    }
    let ended = run(&secrets[..1], &[]).await;
    assert!(ended.stderr.contains("which token?"), "{}", ended.stderr);
    let ended = run(&secrets, &["--kubo", "http://kubo.example"]).await;
    assert!(ended.stderr.contains("one secret opens one place"), "{}", ended.stderr);
    let ended = run(&[("DAEE_PIN_TOKEN", "a"), ("DAEE_KUBO_AUTH", "sesame")], &[]).await;
    assert!(ended.stderr.contains("DAEE-I032") && !ended.stderr.contains("sesame"));
}

#[tokio::test]
async fn an_artifact_of_several_blocks_is_published_and_not_paid_for() {
    let here = Here::new();
    let filler = "x".repeat(2 << 20);
    let large = MODULE.replace("(memory", &format!("(@custom \"filler\" \"{filler}\") (memory"));
    fs::write(here.path("agent/a.wasm"), wat::parse_str(large).unwrap()).unwrap();
    let packed = here.json(&["pack", "agent"], 0).await;
    assert!(packed["cid"].as_str().unwrap().starts_with("bafybei"), "{packed}");
    let checked = here.json(&["check", "agent/a.car"], 0).await;
    assert_eq!(checked["facts"]["cid"], packed["cid"]);
    let node = content_node().await;
    let url = format!("http://{}", node.address());
    here.check(&["publish", "agent", "--node", &url], 1, &["DAEE-U060", "`--kubo`"]).await;
    for command in [&["up", "agent", "--max-rate", "1"][..], &["update", "1", "agent"]] {
        here.check(command, 1, &["DAEE-U007", "1 MiB", "wasm-opt"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_is_paid_for_listed_topped_up_stopped_and_refunded() {
    let chain = TestChain::start().await;
    let node = content_node().await;
    let here = Here::on(&chain, vec![format!("http://{}", node.address())]).await;
    here.json(&["pack", "agent"], 0).await;
    let dir = ["--dir", "."];
    let with = |args: &[&'static str]| [args, &dir[..]].concat();

    let up = with(&["up", "agent", "--max-rate", "0.5", "--pay", "20", "--wait", "0"]);
    let up = here.json(&up, 0).await;
    assert_eq!(up["deployment"], 1);
    assert_eq!(up["paid_in"], "20000000000000000000");
    assert_eq!(up["endpoint"], "http://acme-agent-1.localhost:8080/");
    assert_eq!(up["published"].as_array().unwrap().len(), 1);
    assert_eq!(up["status"], Value::Null);

    let status = here.json(&with(&["status", "1"]), 0).await;
    assert_eq!((&status["phase"], &status["version"]), (&"bidding".into(), &1.into()));
    assert_eq!(status["owner"], chain.key(0).address().to_string());
    let text = here.run(&with(&["status", "1"])).await;
    assert!(text.stdout.contains("acme.agent@v1.0.0 (version 1)"), "{}", text.stdout);

    let listed = here.json(&with(&["list"]), 0).await;
    assert_eq!(listed["deployments"].as_array().unwrap().len(), 1);

    let before: u128 = status["spend"]["balance"].as_str().unwrap().parse().unwrap();
    let topped = here.json(&with(&["topup", "1", "0.5"]), 0).await;
    let after: u128 = topped["balance"].as_str().unwrap().parse().unwrap();
    assert_eq!(after - before, 500_000_000_000_000_000);

    // Without a lease there is nobody to ask.
    here.check(&with(&["logs", "1"]), 1, &["DAEE-U032", "none has won yet"]).await;
    here.check(&with(&["call", "1", "/price"]), 1, &["DAEE-U032"]).await;
    here.check(&with(&["status", "9"]), 1, &["DAEE-U030", "does not exist"]).await;

    let stopped = here.json(&with(&["stop", "1"]), 0).await;
    assert_eq!(stopped["refunded"], after.to_string());
    assert_eq!(stopped["paid"], "0");
    assert!(here.json(&with(&["list"]), 0).await["deployments"].as_array().unwrap().is_empty());
    let all = here.json(&with(&["list", "--closed"]), 0).await;
    assert_eq!(all["deployments"][0]["phase"], "closed");
    let withdrawn = here.json(&with(&["withdraw"]), 0).await;
    assert_eq!(withdrawn["amount"], after.to_string());
    here.check(&with(&["withdraw"]), 1, &["DAEE-U038", "nothing is owed"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_paid_for_and_does_not_run_is_said_with_the_way_out() {
    let chain = TestChain::start().await;
    let node = content_node().await;
    let here = Here::on(&chain, vec![format!("http://{}", node.address())]).await;
    here.json(&["pack", "agent"], 0).await;
    let up = ["up", "agent", "--max-rate", "0.5", "--wait", "5", "--dir", "."];
    let failed = here.json(&up, 1).await;
    assert_eq!(failed["error"]["code"], "DAEE-U050");
    assert_eq!(failed["deployment"], 1);
    let says = ["packed", "published", "deployed", "#2", "no bid yet", "`daee-deploy stop 2`"];
    here.check(&up, 1, &says).await;

    // Below the minimum nothing is published, and nothing is paid.
    let little = ["up", "agent", "--max-rate", "0.5", "--pay", "0.0001", "--dir", "."];
    let failed = here.json(&little, 1).await;
    assert_eq!(failed["error"]["code"], "DAEE-U036");
    assert!(failed.get("deployment").is_none());
    assert_eq!(chain.chain().await.deployment_count().await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn options_count_more_than_the_folder_and_the_folder_more_than_the_environment() {
    let chain = TestChain::start().await;
    let here = Here::on(&chain, Vec::new()).await;
    let other = Key::generate();
    other.save(here.path("other.key")).unwrap();
    // `withdraw` says whose nothing it is.
    let check = async |args: &[&str], environment: &[(&str, &str)], whose: String| {
        let mut program = here.program(&[&["withdraw"], args].concat());
        for (name, value) in environment {
            program = program.env(name, value);
        }
        let run = move || program.run(Duration::from_secs(60));
        let ended = tokio::task::spawn_blocking(run).await.unwrap();
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains(&whose), "{}", ended.stderr);
    };
    let (deployer, other) = (chain.key(0).address().to_string(), other.address().to_string());
    let set = [("DAEE_KEY", "other.key"), ("DAEE_NETWORK", "network.json")];
    check(&[], &set, other.clone()).await;
    check(&["--dir", "."], &set, deployer.clone()).await;
    check(&["--dir", ".", "--key", "other.key"], &[], other).await;
    check(&["--key", "keys/deployer.key"], &set, deployer).await;
}
