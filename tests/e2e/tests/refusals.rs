//! Bad input from outside, at every door of a network: each is refused by a name that scripts can match and a
//! sentence that people can act on, and nobody has a wei less afterwards than the check says.

mod kit;
mod site;

use std::{fs, panic::AssertUnwindSafe, path::Path};

use daee_artifact::{Cid, package};
use daee_chain::{ChainError, NetworkParams, Phase, Registration, Terms, register_consent_digest};
use daee_client::{Deployer, Offer, Windows};
use daee_http::{Bytes, Client, Limits, Roots, http::Request};
use daee_lifecycle::{REQUEST_HEADER, SESSION_HEADER, Session};
use daee_manifest::Manifest;
use daee_signer::Key;
use daee_testkit::{Ended, Program, TempDir, folder};
use daee_types::{
    Address, ArtifactHash, BodyHash, ByteSize, DeploymentId, ManifestHash, MilliCpu, Rate,
    Resources, Sign as _, Timestamp, TokenAmount, sha256,
};
use futures_util::{FutureExt as _, future::join};
use serde_json::{Value, json};

use kit::{Network, NodeReady};
use site::{Agent, Evil, SOON, ask, offer, reason, run, running, terms};

/// Runs each of these on one network, and watches the deployer's money around it.
macro_rules! check_all {
    ($here:expr; $($check:ident),+ $(,)?) => {{
        let mut failed = Vec::new();
        let mut passed = 0;
        $(
            if $here.wants(stringify!($check)) {
                match $here.check(AssertUnwindSafe($check(&$here))).await {
                    true => passed += 1,
                    false => failed.push(stringify!($check)),
                }
                let result = if failed.last() == Some(&stringify!($check)) { "FAILED" } else { "ok" };
                println!("test {} ... {result}", stringify!($check));
            }
        )+
        (passed, failed)
    }};
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let failed = runtime.expect("there are threads").block_on(async {
        let here = Here::start().await;
        let (passed, failed) = check_all!(here;
            a_manifest_that_does_not_fit_its_hash_is_refused,
            an_artifact_swapped_behind_a_good_cid_is_never_taken_or_served,
            a_cid_that_is_not_the_hash_is_refused_by_the_contract,
            a_payment_below_the_minimum_is_refused,
            bids_need_a_rate_a_stake_capacity_and_the_right_manifest,
            a_component_is_refused_with_its_fix,
            calls_of_strangers_are_refused,
            signed_calls_count_once_here_and_now,
            a_private_endpoint_answers_its_deployer_alone,
            what_is_too_large_is_refused,
            names_of_nobody_lead_nowhere,
            scripts_can_tell_no_from_could_not,
        );
        let result = if failed.is_empty() { "ok" } else { "FAILED" };
        if !failed.is_empty() {
            eprintln!("{}", here.network.logs());
        }
        println!("\ntest result: {result}. {passed} passed; {} failed: {failed:?}", failed.len());
        failed.len()
    });
    std::process::exit(i32::from(failed > 0));
}

/// One network, and two agents that run on it.
struct Here {
    network: Network,
    deployer: Deployer,
    client: Client,
    /// Has a key and nothing else.
    stranger: std::sync::Arc<Key>,
    open: (Agent, DeploymentId, String),
    private: (Agent, DeploymentId, String),
    files: TempDir,
}

/// What a check may have cost the deployer, in wei: what the contract burned, or what the check gave away.
type Cost = u128;

impl Here {
    async fn start() -> Self {
        let network = Network::start(&["--empty"]).await;
        let deployer = network.deployer();
        let files = folder();
        let stranger = std::sync::Arc::new(Key::generate());
        stranger.save(files.path().join("stranger.key")).expect("the folder is there");
        let (open, private) =
            (Agent::new("acme.open", ""), Agent::new("acme.private", "endpoint: \"private\"\n"));
        let up = async |agent: &Agent| {
            let market = deployer.market();
            let nodes = market.gateways().await.expect("the network names its nodes");
            market.publish(&agent.package, &nodes).await.expect("the nodes take it");
            let id = deployer.deploy(&agent.package, &offer()).await.expect("it is deployed").id;
            (id, running(market, id).await)
        };
        let ((a, a_url), (b, b_url)) = join(up(&open), up(&private)).await;
        let client = Client::new(&Roots::none()).expect("no roots are needed");
        Self {
            network,
            deployer,
            client,
            stranger,
            open: (open, a, a_url),
            private: (private, b, b_url),
            files,
        }
    }

    /// An argument selects checks whose name it is part of.
    fn wants(&self, check: &str) -> bool {
        let mut wanted = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
        let first = wanted.next();
        first.is_none_or(|first| std::iter::once(first).chain(wanted).any(|w| check.contains(&w)))
    }

    async fn check(&self, check: AssertUnwindSafe<impl Future<Output = Cost>>) -> bool {
        let before = self.wealth().await;
        let Ok(cost) = check.catch_unwind().await else { return false };
        let after = self.wealth().await;
        if after != before - cost {
            eprintln!("the deployer had {before} wei, {cost} of it may be gone, and has {after}");
        }
        after == before - cost
    }

    /// What the deployer has, in wei: in the wallet, to withdraw, in escrow, and what nodes earned of it.
    async fn wealth(&self) -> u128 {
        let (chain, wallet) = (&self.network.chain, self.deployer.address());
        let mut wealth = chain.balance(wallet).await.expect("the chain answers").0;
        wealth += chain.claimable(wallet).await.expect("the chain answers").0;
        let market = self.deployer.market();
        for deployment in market.deployments(Some(wallet)).await.expect("the chain answers") {
            wealth += deployment.balance.0 + deployment.paid.0;
        }
        wealth
    }

    async fn deployments(&self) -> u64 {
        self.network.chain.deployment_count().await.expect("the chain answers")
    }

    /// Pays for bytes and a body as no honest client would.
    async fn deploy(
        &self,
        agent_id: &str,
        artifact: &[u8],
        body: &[u8],
        offer: &Offer,
    ) -> DeploymentId {
        let resources = terms(offer, artifact).resources;
        self.deploy_with(agent_id, artifact, body, offer, resources).await
    }

    async fn deploy_with(
        &self,
        agent_id: &str,
        artifact: &[u8],
        body: &[u8],
        offer: &Offer,
        resources: Resources,
    ) -> DeploymentId {
        let (cid, hash) = (Cid::of(artifact).to_bytes(), ArtifactHash::of(artifact));
        let account = self.deployer.account();
        let terms = Terms { resources, ..terms(offer, artifact) };
        let body = BodyHash::new(sha256(body));
        let deployed = account.deploy(agent_id, &cid, hash, body, &terms, offer.payment).await;
        deployed.expect("the contract cannot know better").0
    }

    /// Ends a deployment that no node took; everything comes back but what was burned for its bytes.
    async fn stop_untaken(&self, id: DeploymentId, artifact: &[u8]) -> Cost {
        let now = self.network.deployment(id).await;
        assert_eq!((now.phase, now.lease.node), (Phase::Bidding, Address::ZERO), "nobody bid");
        assert_eq!(now.paid, TokenAmount::ZERO);
        let stopping = self.deployer.stop(id).await.expect("its owner may");
        let stopped = self.deployer.wait_stopped(&stopping, SOON, &mut |_| {}).await;
        assert_eq!(stopped.expect("it ends").paid, TokenAmount::ZERO);
        artifact.len() as u128 * NetworkParams::dev().fee_per_byte.0
    }

    /// The node that holds a lease.
    async fn holder(&self, id: DeploymentId) -> &NodeReady {
        self.network.node(self.network.deployment(id).await.lease.node)
    }

    /// Status and JSON of what a server answers.
    async fn send(&self, url: &str, request: Request<Bytes>) -> (u16, Value) {
        let answer = self.client.exchange(url, request, &Limits::default()).await;
        let answer = answer.unwrap_or_else(|error| panic!("{url}: {error}"));
        (answer.status.as_u16(), serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
    }

    async fn post(&self, url: &str, body: impl Into<Bytes>) -> (u16, Value) {
        self.send(url, Request::post("/").body(body.into()).expect("a request")).await
    }

    async fn get(&self, url: &str) -> u16 {
        self.send(url, Request::get("/").body(Bytes::new()).expect("a request")).await.0
    }

    /// `daee-deploy` with this wallet on this network.
    async fn run_as(&self, key: &Path, arguments: &[&str]) -> Ended {
        let network = &self.network.ready.network;
        let program = Program::ours("daee-deploy").args(arguments);
        run(&program.args([Path::new("--network"), network, Path::new("--key"), key])).await
    }

    async fn run(&self, arguments: &[&str]) -> Ended {
        self.run_as(&self.network.dir().join("keys/deployer.key"), arguments).await
    }
}

/// Whether a refusal has this status and code, and says each of these.
fn refused(answer: &(u16, Value), status: u16, code: &str, says: &[&str]) {
    let (found, error) = answer;
    assert_eq!((*found, error["code"].as_str()), (status, Some(code)), "{error}");
    let message = error["message"].as_str().unwrap_or_default();
    for part in says {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
}

fn reverted<T>(done: Result<T, ChainError>, name: &str, says: &[&str]) {
    let Err(error) = done else { panic!("{name} was expected, and it was done") };
    assert_eq!(error.revert_name(), Some(name), "{error}");
    for part in says {
        assert!(error.to_string().contains(part), "{part} is not in: {error}");
    }
}

fn ended(ended: &Ended, exit: i32, says: &[&str]) {
    assert_eq!(ended.code, Some(exit), "{}{}", ended.stdout, ended.stderr);
    for part in says {
        assert!(ended.stderr.contains(part), "{part} is not in: {}", ended.stderr);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("its name is text")
}

async fn a_manifest_that_does_not_fit_its_hash_is_refused(here: &Here) -> Cost {
    let before = here.deployments().await;
    // In the folder: the module is not the one that the manifest names.
    let agent = Agent::new("acme.other", "");
    let mut module = agent.package.artifact().bytes().to_vec();
    module.extend(b"\0\x02\x01x"); // an empty custom section
    fs::write(agent.path().join("agent.wasm"), &module).expect("the folder is there");
    let said = here.run(&["up", text(agent.path()), "--max-rate", "50"]).await;
    ended(&said, 1, &["artifact_hash", &ArtifactHash::of(&module).to_string()]);

    // In the package: the body is another manifest's than the YAML.
    let (artifact, other) = (agent.package.artifact().bytes(), &here.open.0.package);
    let body = other.manifest().canonical_body();
    let mixed = package::write(artifact, body.as_bytes(), agent.package.yaml()).expect("it fits");
    let car = here.files.path().join("mixed.car");
    fs::write(&car, mixed).expect("the folder is there");
    ended(
        &here.run(&["up", text(&car), "--max-rate", "50"]).await,
        1,
        &["DAEE-V002", "pack it again"],
    );
    assert_eq!(here.deployments().await, before, "nothing was deployed");

    // On chain: the hash is of a body that is another agent's, and of none that anybody has.
    let api = &here.network.ready.nodes[0].api;
    let longer = Offer { windows: Windows { bid: 600, ..offer().windows }, ..offer() };
    let id = here.deploy("acme.impostor@v1.0.0", artifact, body.as_bytes(), &longer).await;
    let why = reason(here.deployer.market(), api, id).await;
    assert!(why.contains("the manifest is of acme.open"), "{why}");
    assert!(why.contains("the deployment of acme.impostor"), "{why}");
    let cost = here.stop_untaken(id, artifact).await;
    let id = here.deploy("acme.open@v1.0.0", artifact, b"{}", &longer).await;
    let why = reason(here.deployer.market(), api, id).await;
    assert!(why.contains("the manifest cannot be read"), "{why}");
    let cost = cost + here.stop_untaken(id, artifact).await;
    // On chain: terms that ask for less of a machine than the manifest does.
    let mine = agent.package.manifest().canonical_body();
    let car = agent.package.car();
    let (status, _) = here.post(&format!("{api}/v1/content"), car).await;
    assert_eq!(status, 200);
    let small = Resources { cpu: MilliCpu(1), memory: ByteSize::mib(16), gpu: 0 };
    let id = here.deploy_with("acme.other@v1.0.0", artifact, mine.as_bytes(), &longer, small).await;
    let why = reason(here.deployer.market(), api, id).await;
    assert!(why.contains("other resources than the deployment's terms"), "{why}");
    cost + here.stop_untaken(id, artifact).await
}

async fn an_artifact_swapped_behind_a_good_cid_is_never_taken_or_served(here: &Here) -> Cost {
    let node = &here.network.ready.nodes[0];
    // In the package.
    let agent = Agent::new("acme.swapped", "description: \"another manifest, another body\"\n");
    let mut car = agent.package.car().to_vec();
    let at = car.windows(4).position(|four| four == b"\0asm").expect("the module is inside");
    car[at + 20] ^= 1;
    let url = format!("{}/v1/content", node.api);
    refused(&here.post(&url, car.clone()).await, 400, "DAEE-L006", &["DAEE-A011", "its CID names"]);
    let [_, body, _] = agent.package.cids();
    let body = format!("{}/ipfs/{body}?format=raw", node.api);
    assert_eq!(here.get(&body).await, 404, "nothing of it is kept");
    let path = here.files.path().join("swapped.car");
    fs::write(&path, car).expect("the folder is there");
    ended(&here.run(&["publish", text(&path)]).await, 1, &["DAEE-A011"]);

    // On the node's own disk.
    let bytes = here.open.0.package.artifact().bytes();
    let kept = files(&here.network.dir().join(&node.name));
    let kept = kept.into_iter().find(|path| fs::read(path).is_ok_and(|found| found == bytes));
    let kept = kept.expect("the node keeps what it was given");
    let mut other = bytes.to_vec();
    other[20] ^= 1;
    fs::write(&kept, &other).expect("the file is there");
    let [cid, ..] = here.open.0.package.cids();
    let artifact = format!("{}/ipfs/{cid}?format=raw", node.api);
    assert_eq!(here.get(&artifact).await, 404, "what it has is not what the CID names");
    let (status, _) = here.post(&url, here.open.0.package.car()).await;
    assert_eq!(status, 200, "it is given again");
    assert_eq!(here.get(&artifact).await, 200);
    assert_eq!(fs::read(&kept).expect("the file is there"), bytes, "and kept as it should be");
    0
}

async fn a_cid_that_is_not_the_hash_is_refused_by_the_contract(here: &Here) -> Cost {
    let before = here.deployments().await;
    let package = &here.open.0.package;
    let (hash, other) = (*package.artifact().hash(), Cid::of(b"another"));
    let deploy = async |cid: &[u8]| {
        let (terms, payment) = (offer().terms(package), offer().payment);
        let account = here.deployer.account();
        account.deploy("acme.open@v1.0.0", cid, hash, package.body_hash(), &terms, payment).await
    };
    let hex = daee_types::ArtifactHash::new(other.digest()).to_string();
    reverted(
        deploy(&other.to_bytes()).await,
        "CidIsNotTheHash",
        &[&hex, &hash.to_string(), "pack"],
    );
    let good = package.cids()[0].to_bytes();
    let mut dag = good.to_vec();
    dag[1] = 0x70; // dag-pb instead of raw
    let mut long = good.to_vec();
    long.push(0);
    for cid in [&dag[..], &good[..35], &long, b"", b"bafy"] {
        reverted(deploy(cid).await, "CidNotRawSha256", &["SHA-256", "pack"]);
    }
    assert_eq!(here.deployments().await, before, "nothing was deployed");
    0
}

async fn a_payment_below_the_minimum_is_refused(here: &Here) -> Cost {
    let before = here.deployments().await;
    let (agent, package) = (text(here.open.0.path()), &here.open.0.package);
    let said = here.run(&["up", agent, "--max-rate", "50", "--pay", "0.01"]).await;
    ended(&said, 1, &["DAEE-U036", "0.01 TALOS is below the minimum of", "`--pay`"]);
    let low = Offer { payment: TokenAmount(1), ..offer() };
    let (cid, terms) = (package.cids()[0].to_bytes(), low.terms(package));
    let (hash, body) = (*package.artifact().hash(), package.body_hash());
    let account = here.deployer.account();
    let done = account.deploy("a.b@v1.0.0", &cid, hash, body, &terms, low.payment).await;
    reverted(done, "PaymentBelowMinimum", &["is the least here"]);
    let stranger = here.files.path().join("stranger.key");
    let said = here.run_as(&stranger, &["up", agent, "--max-rate", "50"]).await;
    ended(&said, 1, &["DAEE-U037", &here.stranger.address().to_string(), "send it TALOS"]);
    assert_eq!(here.deployments().await, before, "nothing was deployed");
    0
}

async fn bids_need_a_rate_a_stake_capacity_and_the_right_manifest(here: &Here) -> Cost {
    let (chain, package) = (&here.network.chain, &here.open.0.package);
    let manifest = package.manifest().manifest_hash();
    // So cheap that no node wants it, and open for as long as this takes.
    let cheap = Offer {
        rate_max: Rate(1_000),
        windows: Windows { bid: 600, ..offer().windows },
        ..offer()
    };
    let id = here.deployer.deploy(package, &cheap).await.expect("it is deployed").id;
    let first = &here.network.ready.nodes[0];
    let node = chain.account(here.network.key(&first.name));
    let registry = || chain.node(first.account);
    let staked = registry().await.expect("the chain answers");
    reverted(node.bid(id, Rate(1_001), &manifest).await, "RateAboveMaximum", &["at most"]);
    reverted(node.bid(id, Rate(0), &manifest).await, "RateAboveMaximum", &["above zero"]);
    let other = ManifestHash::of(package.artifact().hash(), &BodyHash::new([7; 32]));
    reverted(node.bid(id, Rate(9), &other).await, "WrongManifest", &["verify that one first"]);
    let done = node.bid(DeploymentId(9_999), Rate(9), &manifest).await;
    reverted(done, "UnknownDeployment", &["9999"]);
    assert_eq!(
        registry().await.expect("the chain answers"),
        staked,
        "nothing of its stake is locked"
    );

    // Without a stake.
    let stranger = chain.account(here.stranger.clone());
    let done = stranger.bid(id, Rate(9), &manifest).await;
    reverted(done, "NotRegistered", &["daee-node stake"]);

    // With a stake that is too small, and then with too little of a machine.
    let least = NetworkParams::dev().stake_min;
    let given = TokenAmount(least.0 + 1);
    here.deployer.account().transfer(stranger.address(), given).await.expect("it has that much");
    let coin = json!([stranger.address(), "0xde0b6b3a7640000"]);
    let (status, answer) = here.rpc("anvil_setBalance", coin).await;
    assert!(status == 200 && answer["error"].is_null(), "{answer}");
    let operator = stranger.address();
    let domain = chain.domain();
    let registration = |stake| {
        let digest = register_consent_digest(
            chain.contracts().registry,
            domain.chain_id,
            operator,
            operator,
        );
        Registration {
            operator,
            capacity: Resources { cpu: MilliCpu(99), memory: ByteSize::gib(1), gpu: 0 },
            anchor_interval_seconds: 5,
            endpoint: String::new(),
            stake,
            consent: here.stranger.sign(&digest).expect("it signs"),
        }
    };
    let done = stranger.register(&registration(TokenAmount(least.0 - 1))).await;
    reverted(done, "StakeBelowMinimum", &["is below the minimum of"]);
    stranger.register(&registration(least)).await.expect("that is enough");
    let done = stranger.bid(id, Rate(9), &manifest).await;
    reverted(done, "NoCapacity", &["99 of cpu free, not 100"]);

    let now = here.network.deployment(id).await;
    assert_eq!((now.phase, now.lease.node), (Phase::Bidding, Address::ZERO), "no bid was taken");
    given.0 + here.stop_untaken(id, package.artifact().bytes()).await
}

async fn a_component_is_refused_with_its_fix(here: &Here) -> Cost {
    let before = here.deployments().await;
    let component = b"\0asm\x0d\0\x01\0";
    let folder = Agent::folder("acme.component", "", component);
    let fix = ["component", "wasm32-wasip1"];
    ended(&here.run(&["check", text(folder.path())]).await, 1, &[]);
    let said = here.run(&["up", text(folder.path()), "--max-rate", "50"]).await;
    ended(&said, 1, &fix);
    assert_eq!(here.deployments().await, before, "nothing was deployed");

    // Past our own client: nodes take the bytes, which are what their CID names, and do not bid on them.
    let yaml = fs::read(folder.path().join("agent.yaml")).expect("the folder is there");
    let manifest = Manifest::read(&yaml).expect("the manifest is a good one");
    let body = manifest.canonical_body();
    let car = package::write(component, body.as_bytes(), &yaml).expect("it fits");
    for node in &here.network.ready.nodes {
        let (status, _) = here.post(&format!("{}/v1/content", node.api), car.clone()).await;
        assert_eq!(status, 200);
    }
    let longer = Offer { windows: Windows { bid: 600, ..offer().windows }, ..offer() };
    let id = here.deploy("acme.component@v1.0.0", component, body.as_bytes(), &longer).await;
    for node in &here.network.ready.nodes {
        let why = reason(here.deployer.market(), &node.api, id).await;
        for part in fix {
            assert!(why.contains(part), "{part} is not in: {why}");
        }
    }
    here.stop_untaken(id, component).await
}

/// The headers of a signed request, as the owner of `key` makes them.
struct Signed<'a> {
    key: &'a Key,
    wallet: Address,
    node: Address,
    method: &'a str,
    target: &'a str,
    body: &'a [u8],
    at: Timestamp,
    expires: Timestamp,
    nonce: &'a str,
}

impl Here {
    async fn signed<'a>(
        &self,
        key: &'a Key,
        node: Address,
        method: &'a str,
        target: &'a str,
    ) -> Signed<'a> {
        // The chain's clock is this machine's.
        let at = self.network.chain.head().await.expect("the chain answers").time;
        let expires = at.plus_millis(10 * 60 * 1000);
        Signed {
            key,
            wallet: key.address(),
            node,
            method,
            target,
            body: b"",
            at,
            expires,
            nonce: "1",
        }
    }

    fn headers(&self, signed: &Signed<'_>) -> [String; 2] {
        let domain = self.network.chain.domain();
        let Signed { key, wallet, node, method, target, body, at, expires, nonce } = *signed;
        let session = Session::new(wallet, key.address(), node, expires);
        let session = session.sign(&domain, key).expect("it signs");
        session.headers(&domain, key, method, target, body, at, nonce).expect("it signs")
    }

    async fn send_signed(&self, url: &str, method: &str, headers: &[String; 2]) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .header(SESSION_HEADER, &headers[0])
            .header(REQUEST_HEADER, &headers[1]);
        self.send(url, request.body(Bytes::new()).expect("a request")).await
    }

    async fn rpc(&self, method: &str, params: Value) -> (u16, Value) {
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let request = Request::post("/").header("content-type", "application/json");
        let request = request.body(Bytes::from(call.to_string())).expect("a request");
        self.send(&self.network.ready.rpc, request).await
    }
}

async fn calls_of_strangers_are_refused(here: &Here) -> Cost {
    let (_, id, endpoint) = &here.open;
    let node = here.holder(*id).await;
    let before = here.network.deployment(*id).await;
    for (method, what) in [("GET", "logs"), ("POST", "stop"), ("POST", "update")] {
        let target = format!("/v1/deployments/{id}/{what}");
        let url = format!("{}{target}", node.api);
        let plain = Request::builder().method(method).body(Bytes::new()).expect("a request");
        refused(&here.send(&url, plain).await, 401, "DAEE-L003", &["sign in with the wallet"]);
        let signed = here.signed(&here.stranger, node.account, method, &target).await;
        let said = here.send_signed(&url, method, &here.headers(&signed)).await;
        refused(&said, 403, "DAEE-L004", &[&here.stranger.address().to_string(), "did not deploy"]);
        // One header is none.
        let [session, _] = here.headers(&signed);
        let said = here.send_signed(&url, method, &[session, "{}".to_owned()]).await;
        refused(&said, 400, "DAEE-L020", &[REQUEST_HEADER]);
    }
    // The contract knows its owner, too.
    let stranger = here.network.chain.account(here.stranger.clone());
    reverted(stranger.stop(*id).await, "NotOwner", &["use the owner's key"]);
    let unknown = format!("{}/v1/deployments/9999", node.api);
    let plain = Request::get("/").body(Bytes::new()).expect("a request");
    refused(&here.send(&unknown, plain).await, 404, "DAEE-L001", &["9999"]);
    let elsewhere = here.network.ready.nodes.iter().find(|other| other.api != node.api);
    let url = format!("{}/v1/deployments/{id}", elsewhere.expect("there are three").api);
    let plain = Request::get("/").body(Bytes::new()).expect("a request");
    refused(&here.send(&url, plain).await, 421, "DAEE-L002", &[&node.api]);

    let after = here.network.deployment(*id).await;
    assert_eq!((after.phase, after.lease.epoch), (before.phase, before.lease.epoch));
    assert_eq!(ask(here.deployer.market(), endpoint, Evil::None).await.0, 200, "it answers on");
    0
}

async fn signed_calls_count_once_here_and_now(here: &Here) -> Cost {
    const MINUTE: u64 = 60 * 1000;
    let id = here.open.1;
    let node = here.holder(id).await;
    let owner = here.network.key("deployer");
    let target = format!("/v1/deployments/{id}/logs?limit=1");
    let url = format!("{}{target}", node.api);
    let good = async || here.signed(&owner, node.account, "GET", &target).await;
    let send =
        async |signed: Signed<'_>| here.send_signed(&url, "GET", &here.headers(&signed)).await;

    // Once.
    let headers = here.headers(&good().await);
    assert_eq!(here.send_signed(&url, "GET", &headers).await.0, 200);
    let again = here.send_signed(&url, "GET", &headers).await;
    refused(&again, 401, "DAEE-L025", &["made before", "new nonce"]);
    // Here.
    let other = here.network.ready.nodes.iter().find(|other| other.account != node.account);
    let other = other.expect("there are three").account;
    let said = send(Signed { node: other, nonce: "2", ..good().await }).await;
    refused(&said, 401, "DAEE-L021", &[&other.to_string(), &node.account.to_string()]);
    // Now.
    let now = good().await;
    let ended = now.at.plus_millis(0).0 - 1_000;
    let said = send(Signed { expires: Timestamp(ended), nonce: "3", ..now }).await;
    refused(&said, 401, "DAEE-L022", &["sign in again"]);
    let now = good().await;
    let said =
        send(Signed { expires: now.at.plus_millis(3 * 60 * MINUTE), nonce: "4", ..now }).await;
    refused(&said, 401, "DAEE-L022", &["more than an hour"]);
    for at in [now.at.0 - 2 * MINUTE, now.at.0 + 2 * MINUTE] {
        let said = send(Signed { at: Timestamp(at), nonce: "5", ..good().await }).await;
        refused(&said, 401, "DAEE-L024", &["set the clock"]);
    }
    // For what was signed, by who signed it.
    for (target, body) in [("/v1/deployments/1/logs", &b""[..]), (&target, b"a body")] {
        let said = send(Signed { target, body, nonce: "6", ..good().await }).await;
        refused(&said, 401, "DAEE-L023", &["request"]);
    }
    let said = send(Signed { method: "POST", nonce: "7", ..good().await }).await;
    refused(&said, 401, "DAEE-L023", &["request"]);
    let forged =
        Signed { key: &here.stranger, wallet: owner.address(), nonce: "8", ..good().await };
    refused(&send(forged).await, 401, "DAEE-L023", &["session"]);
    0
}

async fn a_private_endpoint_answers_its_deployer_alone(here: &Here) -> Cost {
    let (_, id, endpoint) = &here.private;
    let said = ask(here.deployer.market(), endpoint, Evil::None).await;
    refused(&said, 401, "DAEE-L003", &["sign in with the wallet"]);
    let node = here.holder(*id).await;
    let signed = here.signed(&here.stranger, node.account, "GET", "/").await;
    let said = here.send_signed(endpoint, "GET", &here.headers(&signed)).await;
    refused(&said, 403, "DAEE-L004", &["did not deploy"]);
    let owner = here.network.key("deployer");
    let signed = here.signed(&owner, node.account, "GET", "/").await;
    let headers = here.headers(&signed);
    assert_eq!(here.send_signed(endpoint, "GET", &headers).await.0, 200);
    refused(&here.send_signed(endpoint, "GET", &headers).await, 401, "DAEE-L025", &["made before"]);
    // Through the program, which signs where it is asked to.
    let number = id.to_string();
    let called = here.run(&["call", &number, "/"]).await;
    assert_eq!(called.code, Some(0), "{}{}", called.stdout, called.stderr);
    let stranger = here.files.path().join("stranger.key");
    let called = here.run_as(&stranger, &["call", &number, "/"]).await;
    assert_eq!(called.code, Some(1), "{}{}", called.stdout, called.stderr);
    assert!(called.stdout.contains("DAEE-L004"), "{}{}", called.stdout, called.stderr);
    0
}

async fn what_is_too_large_is_refused(here: &Here) -> Cost {
    let (_, id, endpoint) = &here.open;
    let node = here.holder(*id).await;
    let other = here.network.ready.nodes.iter().find(|other| other.api != node.api);
    let other = other.expect("there are three");
    let (port, other_port) = (port_of(&node.api), port_of(&other.api));
    let host = |port| {
        let (before, _) = endpoint.trim_end_matches('/').rsplit_once(':').expect("it has a port");
        format!("{before}:{port}/")
    };
    // An agent's request, at its node and at one that hands it on.
    let large = Bytes::from(vec![0; (4 << 20) + 1]);
    refused(&here.post(&host(port), large.clone()).await, 413, "DAEE-N017", &["4 MiB"]);
    refused(&here.post(&host(other_port), large.clone()).await, 413, "DAEE-H031", &["4 MiB"]);
    // Content.
    let content = format!("{}/v1/content", node.api);
    refused(&here.post(&content, large).await, 413, "DAEE-L006", &["a package has at most"]);
    refused(&here.post(&content, "no package").await, 400, "DAEE-L006", &["DAEE-A010"]);
    // A signed call's body.
    let stop = format!("{}/v1/deployments/{id}/stop", node.api);
    let long = vec![b' '; (64 << 10) + 1];
    refused(&here.post(&stop, long).await, 400, "DAEE-L006", &["64 KiB"]);
    // A head.
    let request = Request::get("/").header("x-long", "x".repeat(40 << 10)).body(Bytes::new());
    let answer =
        here.client.exchange(endpoint, request.expect("a request"), &Limits::default()).await;
    if let Ok(answer) = answer {
        assert_eq!(answer.status.as_u16(), 431);
    }
    assert_eq!(ask(here.deployer.market(), endpoint, Evil::None).await.0, 200, "it answers on");
    0
}

async fn names_of_nobody_lead_nowhere(here: &Here) -> Cost {
    let (_, id, endpoint) = &here.open;
    let port = port_of(&here.network.ready.nodes[0].api);
    for label in [
        "nobody-9999".to_owned(),
        format!("acme-other-{id}"),
        format!("acme-open-{}", here.private.1),
        format!("acme-open-{}", u64::MAX),
    ] {
        let url = format!("http://{label}.localhost:{port}/");
        let said = ask(here.deployer.market(), &url, Evil::None).await;
        refused(&said, 404, "DAEE-N010", &["no agent has the name", &label, "daee-deploy list"]);
    }
    // Names that are not an agent's are the node's own: it knows no such path.
    for name in [format!("acme-open-0{id}.localhost"), "a.b.localhost".to_owned()] {
        let said = ask(here.deployer.market(), &format!("http://{name}:{port}/"), Evil::None).await;
        assert_eq!(said.0, 404, "{name}: {}", said.1);
    }
    assert_eq!(ask(here.deployer.market(), endpoint, Evil::None).await.0, 200, "its own name does");
    0
}

async fn scripts_can_tell_no_from_could_not(here: &Here) -> Cost {
    let (agent, id, _) = &here.open;
    let (agent, number) = (text(agent.path()), id.to_string());
    let stranger = here.files.path().join("stranger.key");
    // The answer is no.
    ended(&here.run(&["status", "9999"]).await, 1, &["DAEE-U030", "daee-deploy list"]);
    ended(&here.run_as(&stranger, &["stop", &number]).await, 1, &["DAEE-U031", "use the key"]);
    let said = here.run_as(&stranger, &["logs", &number]).await;
    ended(&said, 1, &["DAEE-L004", "use the wallet that did"]);
    ended(&here.run_as(&stranger, &["update", &number, agent]).await, 1, &["DAEE-U031"]);
    ended(&here.run(&["update", &number, agent]).await, 1, &["DAEE-U040", "nothing to update"]);
    let other = text(here.private.0.path());
    ended(&here.run(&["update", &number, other]).await, 1, &["DAEE-U039", "deploy it with `up`"]);
    // It could not be done.
    ended(&here.run(&["pack", "/nowhere"]).await, 2, &["DAEE-U001", "/nowhere"]);
    // A verdict, that there is none, is what `check` prints.
    let said = here.run(&["check", "/nowhere"]).await;
    ended(&said, 2, &[]);
    assert!(
        said.stdout.contains("DAEE-V001") && said.stdout.contains("/nowhere"),
        "{}",
        said.stdout
    );
    ended(&here.run(&["stats"]).await, 2, &["status"]);
    ended(&here.run(&["topup", &number, "much"]).await, 2, &["much"]);
    let alone = Program::ours("daee-deploy").folder(here.files.path());
    ended(&run(&alone.clone().args(["status", "1"])).await, 2, &["which network?", "--network"]);
    let with = |option: &str, path: &Path| {
        alone.clone().args([Path::new("status"), Path::new("1"), Path::new(option), path])
    };
    let file = here.files.path().join("none.json");
    ended(&run(&with("--network", &file)).await, 2, &["DAEE-U010", text(&file)]);
    fs::write(&file, "{}").expect("the folder is there");
    ended(&run(&with("--network", &file)).await, 2, &["DAEE-U011", "daee-node dev"]);
    let read = fs::read_to_string(&here.network.ready.network).expect("dev writes it");
    let mut dead: Value = serde_json::from_str(&read).expect("it is JSON");
    dead["rpc"] = json!([format!("http://{}", daee_testkit::closed_port().await)]);
    fs::write(&file, dead.to_string()).expect("the folder is there");
    ended(&run(&with("--network", &file)).await, 2, &["DAEE-C002", "no endpoint of the chain"]);
    dead["rpc"] = json!([here.network.ready.nodes[0].api]);
    fs::write(&file, dead.to_string()).expect("the folder is there");
    ended(&run(&with("--network", &file)).await, 2, &["DAEE-C002"]);
    // As one object, for scripts.
    let said = here.run(&["status", "9999", "--json"]).await;
    assert_eq!((said.code, said.stdout.lines().count()), (Some(1), 1), "{}", said.stdout);
    let said: Value = serde_json::from_str(&said.stdout).expect("it is JSON");
    assert_eq!(said["error"]["code"], "DAEE-U030");
    assert_eq!(said["error"]["fault"], "developer");
    0
}

fn port_of(api: &str) -> &str {
    api.rsplit_once(':').expect("it has a port").1
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(_) => found.push(entry.path()),
                Err(_) => {}
            }
        }
    }
    found
}
