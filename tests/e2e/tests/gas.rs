//! What each call of the contracts costs on the chain in the process is what it costs on Anvil, to the gas.
//!
//! Both hear the same calls of the same accounts at the same times. Only the hash of a block differs, and with it the
//! epochs of leases: they reach a call as its data, where a byte that is zero costs less than another. So each call
//! is weighed as if none of its bytes were zero.

use std::{fmt::Write as _, path::PathBuf, sync::Arc, time::Duration};

use daee_chain::{
    Account, Chain, ChainError, Deployment, Mined, NetworkParams, Phase, Registration, Terms,
    deploy_contracts, register_consent_digest,
};
use daee_devnet::{BlockTime, Devnet, DevnetConfig};
use daee_http::{Client, Limits, Roots};
use daee_market::AnchorTree;
use daee_signer::Key;
use daee_testkit::Program;
use daee_types::{
    ArtifactHash, BodyHash, ByteSize, Checkpoint, DeploymentId, LeafHash, LogRoot, ManifestHash,
    MilliCpu, Rate, Resources, Sign as _, StateRoot, TokenAmount, TranscriptRoot, Word, keccak256,
};
use serde_json::{Value, json};

/// Later than any clock that may run here, so that both chains can be set to it: the year 2100.
const BEGIN: u64 = 4_102_444_800;
/// What a byte of a call's data costs more than a zero.
const ZERO_BYTE_SAVES: u64 = 12;

#[test]
fn every_call_costs_the_same_gas_on_anvil() {
    let Some(anvil) = std::env::var_os("DAEE_ANVIL").map(PathBuf::from) else {
        println!("skipped: DAEE_ANVIL names no Anvil; `cargo xtask test` installs it from npm");
        return;
    };
    let mut process = Program::new(anvil).args(["--port", "0", "--chain-id", "31337"]).start();
    let url = loop {
        let line = process.line(Duration::from_secs(20)).expect("Anvil says where it listens");
        if let Some(address) = line.strip_prefix("Listening on ") {
            break format!("http://{address}");
        }
    };
    let (here, there) = (on_devnet(), run(Net::at(&url).script()));
    println!("{} calls compared", here.len());
    assert_eq!(differences(&here, &there), "", "devnet, Anvil");
}

/// Or the comparison with Anvil would fail now and then for no fault of either. What it prints is what
/// `cargo xtask bench gas` shows.
#[test]
fn every_call_costs_the_same_gas_each_time() {
    let (once, again) = (on_devnet(), on_devnet());
    once.iter().for_each(|Cost { call, gas, .. }| println!("gas of {call}: {gas}"));
    assert_eq!(differences(&once, &again), "");
    assert!(once.len() > 70, "{}", once.len());
}

#[test]
fn a_call_that_costs_another_gas_is_named() {
    let calls = |costs: &[(&'static str, u64)]| -> Vec<Cost> {
        costs.iter().map(|&(call, weighed)| Cost { call, gas: 7, weighed }).collect()
    };
    let one = calls(&[("bid", 1), ("assign", 2)]);
    assert_eq!(differences(&one, &one), "");
    assert_eq!(differences(&one, &calls(&[("bid", 1), ("assign", 3)])), "assign: 2, 3\n");
    assert_eq!(differences(&one, &calls(&[("bid", 1)])), "2 calls, 1\n");
}

/// What a call of the script used.
struct Cost {
    call: &'static str,
    gas: u64,
    /// Had none of its bytes been zero.
    weighed: u64,
}

fn differences(here: &[Cost], there: &[Cost]) -> String {
    let mut said = String::new();
    if here.len() != there.len() {
        let _ = writeln!(said, "{} calls, {}", here.len(), there.len());
    }
    for (Cost { call, weighed, .. }, there) in here.iter().zip(there) {
        if *weighed != there.weighed {
            let _ = writeln!(said, "{call}: {weighed}, {}", there.weighed);
        }
    }
    said
}

fn on_devnet() -> Vec<Cost> {
    run(async {
        let config = DevnetConfig { block_time: BlockTime::OnDemand, ..DevnetConfig::default() };
        let listen = "127.0.0.1:0".parse().expect("an address");
        let devnet = Devnet::start(listen, config).await.expect("a free port");
        let costs = Net::at(&devnet.url()).script().await;
        devnet.stop().await;
        costs
    })
}

/// The script is one future, and without optimisation more than the stack of a test has room for.
fn run<T: Send + 'static>(script: impl Future<Output = T> + Send + 'static) -> T {
    const STACK_BYTES: usize = 64 << 20;
    let runtime = || tokio::runtime::Runtime::new().expect("a runtime");
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
    let thread = thread.spawn(move || runtime().block_on(script)).expect("a thread");
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A chain whose time moves only with the script.
struct Net {
    url: String,
    client: Client,
    now: u64,
    costs: Vec<Cost>,
}

/// Who acts. The operator's stake is the owner's; the rival stakes for itself.
struct Cast {
    tenant: Account,
    owner: Account,
    operator: Account,
    rival: Account,
    stranger: Account,
}

impl Net {
    fn at(url: &str) -> Self {
        let client = Client::new(&Roots::none()).expect("no roots are needed");
        Self { url: url.to_owned(), client, now: BEGIN, costs: Vec::new() }
    }

    async fn script(mut self) -> Vec<Cost> {
        let chain = self.contracts().await;
        let cast = self.cast(&chain).await;
        self.a_lease_from_bid_to_refund(&chain, &cast).await;
        self.versions_that_are_refused(&chain, &cast).await;
        self.leases_that_fail(&chain, &cast).await;
        self.stake_that_leaves(&cast).await;
        self.costs
    }

    async fn contracts(&mut self) -> Chain {
        self.pass(0).await;
        let founder = key("founder");
        self.ask("anvil_setBalance", json!([founder.address(), "0x3635c9adc5dea00000"])).await;
        let params = NetworkParams::dev();
        let contracts = deploy_contracts(&self.url, founder, &params).await.expect("they deploy");
        let chain = Chain::connect(std::slice::from_ref(&self.url), contracts).await;
        let chain = chain.expect("the chain answers");
        let head = chain.head().await.expect("the chain answers");
        let mut sent = Vec::new();
        for number in contracts.first_block..=head.number {
            let block =
                self.ask("eth_getBlockByNumber", json!([format!("0x{number:x}"), false])).await;
            sent.extend(block["transactions"].as_array().expect("a block").clone());
        }
        let names = [
            "create the token",
            "create the registry",
            "create the manager",
            "setManager",
            "create the outbox",
        ];
        assert_eq!(sent.len(), names.len(), "{sent:?}");
        for (name, tx) in names.into_iter().zip(sent) {
            self.weigh(name, tx).await;
        }
        self.now = head.time.seconds();
        chain
    }

    async fn cast(&mut self, chain: &Chain) -> Cast {
        let (manager, registry) = (chain.contracts().manager, chain.contracts().registry);
        let founder = chain.account(key("founder"));
        let all = ["tenant", "owner", "operator", "rival", "stranger"].map(|who| {
            let account = chain.account(key(who));
            (account.address(), account)
        });
        for (address, _) in &all {
            self.ask("anvil_setBalance", json!([address, "0x3635c9adc5dea00000"])).await;
        }
        let [tenant, owner, operator, rival, stranger] = all.map(|(_, account)| account);
        let plenty = TokenAmount::talos(1_000_000);
        for to in [&tenant, &owner, &rival] {
            self.call("transfer", founder.transfer(to.address(), plenty)).await;
        }
        let to = tenant.address();
        self.call("transfer to who has some", founder.transfer(to, plenty)).await;
        self.call("approve", tenant.approve(manager, TokenAmount(1))).await;
        self.call("approve again", tenant.approve(manager, plenty)).await;
        self.call("approve", owner.approve(registry, plenty)).await;
        self.call("approve", rival.approve(registry, plenty)).await;

        let registration = |operator: &str, owner: &Account| {
            let operator = key(operator);
            let chain_id = chain.domain().chain_id;
            let digest =
                register_consent_digest(registry, chain_id, operator.address(), owner.address());
            Registration {
                operator: operator.address(),
                capacity: Resources { cpu: MilliCpu(4000), memory: ByteSize::gib(8), gpu: 0 },
                anchor_interval_seconds: 10,
                endpoint: "http://node.example:8043".into(),
                stake: TokenAmount::talos(50_000),
                consent: operator.sign(&digest).expect("it can sign"),
            }
        };
        let of_another = registration("operator", &owner);
        self.call("register", owner.register(&of_another)).await;
        let of_itself = registration("rival", &rival);
        self.call("register by the operator", rival.register(&of_itself)).await;
        self.call("setEndpoint", operator.set_endpoint("http://elsewhere.example:8043")).await;
        self.call("stake", owner.stake(operator.address(), TokenAmount::talos(5))).await;
        Cast { tenant, owner, operator, rival, stranger }
    }

    async fn a_lease_from_bid_to_refund(&mut self, chain: &Chain, cast: &Cast) {
        let Cast { tenant, operator, rival, .. } = cast;
        let id = self.deploy(tenant).await;
        self.call("bid", rival.bid(id, RATE, &manifest(V1))).await;
        self.call("bid lower", operator.bid(id, Rate(RATE.0 / 2), &manifest(V1))).await;
        self.pass(20).await;
        self.call("assign", tenant.assign(id)).await;

        self.prove("anchor, the first", "open, the first", chain, id, operator, V1).await;
        self.pass(5).await;
        self.prove("anchor", "open", chain, id, operator, V1).await;
        self.pass(5).await;
        self.prove("anchor", "open", chain, id, operator, V1).await;
        self.call("settle, the first", cast.stranger.settle(&[id])).await;
        self.pass(5).await;
        self.prove("anchor", "open", chain, id, operator, V1).await;
        self.call("settle", cast.stranger.settle(&[id])).await;
        self.call("settle nothing", cast.stranger.settle(&[id, DeploymentId(77)])).await;
        let open = "open in a tree of a thousand";
        self.prove_among(1_000, "anchor", open, chain, id, operator, V1).await;

        let epoch = read(chain, id).await.lease.epoch;
        let topic = keccak256("price");
        self.call("publish", operator.publish(id, epoch, 3, topic, &[7; 32])).await;
        self.call("publish again", operator.publish(id, epoch, 4, topic, &[8; 32])).await;
        self.call("publish more", operator.publish(id, epoch, 5, topic, &[9; 320])).await;

        let (hash, cid) = version(V2);
        self.call("update in a lease", tenant.update(id, &cid, hash, body(), 1000)).await;
        self.pass(5).await;
        self.prove("anchor", "open the next version", chain, id, operator, V2).await;
        assert_eq!(read(chain, id).await.version.number, 2);

        self.call("topUp", tenant.top_up(id, TokenAmount::talos(1))).await;
        self.call("stop", tenant.stop(id)).await;
        self.prove("anchor", "open, the last", chain, id, operator, V2).await;
        self.call("finish", operator.finish(id)).await;
        assert_eq!(read(chain, id).await.phase, Phase::Closed);
        self.call("withdraw", tenant.withdraw(tenant.address())).await;
        self.call("withdraw elsewhere", cast.owner.withdraw(cast.stranger.address())).await;
    }

    async fn versions_that_are_refused(&mut self, chain: &Chain, cast: &Cast) {
        let Cast { tenant, operator, .. } = cast;
        let id = self.deploy(tenant).await;
        self.call("bid", operator.bid(id, RATE, &manifest(V1))).await;
        let (hash, cid) = version(V2);
        self.call("update after a bid", tenant.update(id, &cid, hash, body(), 1000)).await;
        self.call("bid", operator.bid(id, RATE, &manifest(V2))).await;
        self.pass(20).await;
        self.call("assign", operator.assign(id)).await;
        let (hash, cid) = version(V1);
        self.call("update", tenant.update(id, &cid, hash, body(), 1000)).await;
        self.call("refuseUpdate", operator.refuse_update(id)).await;
        self.call("finish and relist", tenant.finish(id)).await;
        assert_eq!(read(chain, id).await.phase, Phase::Bidding);
        self.call("bid", operator.bid(id, RATE, &manifest(V1))).await;
        self.call("stop before a lease", tenant.stop(id)).await;
        assert_eq!(read(chain, id).await.phase, Phase::Closed);
    }

    async fn leases_that_fail(&mut self, chain: &Chain, cast: &Cast) {
        let Cast { tenant, operator, stranger, .. } = cast;
        let id = self.deploy(tenant).await;
        self.pass(20).await;
        self.call("assign to nobody", stranger.assign(id)).await;

        self.lease(id, cast).await;
        self.pass(101).await;
        self.call("expire before a start", stranger.expire(id)).await;

        self.lease(id, cast).await;
        self.prove("anchor", "open, the first", chain, id, operator, V1).await;
        self.pass(5).await;
        self.prove("anchor", "open", chain, id, operator, V1).await;
        self.pass(31).await;
        self.call("expire", stranger.expire(id)).await;

        self.lease(id, cast).await;
        let (one, _) = leaf(&read(chain, id).await, V1, 2);
        let other = Checkpoint { fuel: one.fuel + 1, ..one };
        let signed = |leaf: &Checkpoint| {
            let digest = chain.domain().digest(leaf.leaf_hash().as_bytes());
            key("operator").sign(&digest).expect("it can sign")
        };
        let (first, second) = (signed(&one), signed(&other));
        let salt = [5; 32];
        self.call("commitEvidence", stranger.commit_evidence(&one, &other, salt)).await;
        let report = stranger.report_equivocation((&one, &first), (&other, &second), salt);
        self.call("reportEquivocation", report).await;
        self.pass(31).await;
        self.call("releaseTails", stranger.release_tails(operator.address())).await;
    }

    async fn stake_that_leaves(&mut self, cast: &Cast) {
        let operator = cast.operator.address();
        self.call("unstake", cast.owner.unstake(operator, TokenAmount::talos(7))).await;
        self.pass(60).await;
        self.call("withdrawStake", cast.owner.withdraw_stake(operator)).await;
    }

    // ---- steps that repeat -----------------------------------------------------------------------

    async fn deploy(&mut self, tenant: &Account) -> DeploymentId {
        let (hash, cid) = version(V1);
        let payment = TokenAmount::talos(100);
        let terms = terms();
        let mut id = None;
        let deploy = async {
            let agent = "talos.oracle.price-eth@v1.2.0";
            let deployed = tenant.deploy(agent, &cid, hash, body(), &terms, payment).await?;
            id = Some(deployed.0);
            Ok(deployed.1)
        };
        self.call("deploy", deploy).await;
        id.expect("the call ended well")
    }

    async fn lease(&mut self, id: DeploymentId, cast: &Cast) {
        self.call("bid", cast.operator.bid(id, RATE, &manifest(V1))).await;
        self.pass(20).await;
        self.call("assign", cast.tenant.assign(id)).await;
    }

    /// The next leaf, anchored and opened.
    async fn prove(
        &mut self,
        anchor: &'static str,
        open: &'static str,
        chain: &Chain,
        id: DeploymentId,
        operator: &Account,
        artifact: &[u8],
    ) {
        self.prove_among(2, anchor, open, chain, id, operator, artifact).await;
    }

    #[expect(clippy::too_many_arguments, reason = "each is another thing that the script says")]
    async fn prove_among(
        &mut self,
        leaves: u64,
        anchor: &'static str,
        open: &'static str,
        chain: &Chain,
        id: DeploymentId,
        operator: &Account,
        artifact: &[u8],
    ) {
        let (leaf, proof) = leaf(&read(chain, id).await, artifact, leaves);
        let root = daee_market::root_of_proof(id, leaf.leaf_hash(), &proof).expect("a proof");
        self.call(anchor, operator.anchor(root)).await;
        self.call(open, operator.open(&leaf, &proof)).await;
    }

    // ---- the chain ---------------------------------------------------------------------------------

    /// A call in the block of the next second.
    async fn call(
        &mut self,
        name: &'static str,
        call: impl Future<Output = Result<Mined, ChainError>>,
    ) {
        self.now += 1;
        self.ask("evm_setNextBlockTimestamp", json!([self.now])).await;
        let mined = call.await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(mined.time.seconds(), self.now, "{name} is one transaction");
        self.weigh(name, json!(mined.tx.to_string())).await;
    }

    async fn weigh(&mut self, name: &'static str, tx: Value) {
        let receipt = self.ask("eth_getTransactionReceipt", json!([tx])).await;
        let sent = self.ask("eth_getTransactionByHash", json!([tx])).await;
        let data = sent["input"].as_str().expect("a transaction has data").as_bytes();
        let zeros = data[2..].chunks(2).filter(|byte| byte == b"00").count() as u64;
        let gas = number(&receipt["gasUsed"]);
        self.costs.push(Cost { call: name, gas, weighed: gas + ZERO_BYTE_SAVES * zeros });
    }

    async fn pass(&mut self, seconds: u64) {
        self.now += seconds;
        self.ask("evm_setNextBlockTimestamp", json!([self.now])).await;
        self.ask("evm_mine", json!([])).await;
    }

    async fn ask(&self, method: &str, params: Value) -> Value {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let body = body.to_string().into();
        let limits = Limits::default();
        let answer = self.client.post(&self.url, "application/json", body, &limits).await;
        let answer: Value =
            serde_json::from_slice(&answer.expect("the chain answers").body).expect("JSON");
        assert!(answer.get("error").is_none(), "{method}: {}", answer["error"]);
        answer["result"].clone()
    }
}

const V1: &[u8] = b"one module";
const V2: &[u8] = b"another module";
const RATE: Rate = Rate(500_000_000_000_000);

fn terms() -> Terms {
    Terms {
        resources: Resources { cpu: MilliCpu(250), memory: ByteSize::mib(256), gpu: 0 },
        policy: 0,
        tier: 0,
        artifact_bytes: 1000,
        bid_window: 20,
        start_window: 100,
        interval: 10,
        grace: 20,
        open_window: 30,
        rate_max: Rate(1_000_000_000_000_000),
    }
}

/// The hash of a module, and the CID of one raw block.
fn version(module: &[u8]) -> (ArtifactHash, Vec<u8>) {
    let hash = ArtifactHash::of(module);
    (hash, [&[0x01, 0x55, 0x12, 0x20], &hash.as_bytes()[..]].concat())
}

fn body() -> BodyHash {
    BodyHash::of(b"{}")
}

fn manifest(module: &[u8]) -> ManifestHash {
    ManifestHash::of(&ArtifactHash::of(module), &body())
}

/// A checkpoint that follows what is open, and its proof in a tree of so many.
fn leaf(found: &Deployment, module: &[u8], leaves: u64) -> (Checkpoint, Vec<Word>) {
    let seq = found.lease.seq + 1;
    let leaf = Checkpoint {
        deployment: found.id,
        epoch: found.lease.epoch,
        seq,
        prev_leaf_hash: found.lease.leaf_hash,
        turn: seq,
        pre_root: found.state_root,
        // Never what it was: a word that stays costs less.
        state_root: StateRoot::new(keccak256(found.state_root.as_bytes())),
        log_root: LogRoot::ZERO,
        transcript_root: TranscriptRoot::ZERO,
        artifact_hash: ArtifactHash::of(module),
        runtime_version: 1,
        fuel: 1000 * seq,
        covered_seconds: found.lease.covered_seconds,
    };
    let others = (1..leaves).map(|at| (DeploymentId(found.id.0 + at), LeafHash::ZERO));
    let all = std::iter::once((found.id, leaf.leaf_hash())).chain(others);
    let tree = AnchorTree::new(all).expect("one leaf for each deployment");
    (leaf, tree.proof(found.id).expect("it is in there"))
}

async fn read(chain: &Chain, id: DeploymentId) -> Deployment {
    chain.deployment(id).await.expect("the chain answers").expect("the deployment is there")
}

/// The same key for the same name, everywhere: its address takes part in what calls cost.
fn key(name: &str) -> Arc<Key> {
    let secret = keccak256(format!("daee-e2e gas {name}"));
    let secret = secret.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    Arc::new(Key::from_hex(&secret).expect("a hash is a key but once in 2^128"))
}

fn number(value: &Value) -> u64 {
    let text = value.as_str().and_then(|text| text.strip_prefix("0x")).expect("a number");
    u64::from_str_radix(text, 16).expect("a number")
}
