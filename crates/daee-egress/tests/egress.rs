//! Where a listed name must not lead, and what a target must not do.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use daee_egress::{
    Broker, Caps, Egress, EgressRequest, EgressSettings, Exchanged, MapHost, Resolve, ResolveError,
    Resolver, Verdict,
};
use daee_http::{
    Server, ServerLimits, ServerTls,
    axum::{Router, extract::Request, response::Redirect, routing::any},
    bind,
};
use daee_policy::{Permit, Policy};
use daee_types::{ByteSize, Coded as _, DeploymentId, Fault};
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::mpsc,
};

const HOST: &str = "api.example.com";
const AGENT: DeploymentId = DeploymentId(7);
const SHORT: Duration = Duration::from_millis(200);

fn permit(path: &str) -> Permit {
    let line = format!("network_outbound:{HOST}").parse().unwrap();
    Policy::new(vec![(line, 12)]).url(&format!("https://{HOST}{path}")).unwrap()
}

/// Answers with one list after another, the last one for ever, and counts how often it was asked.
#[derive(Clone)]
struct Answers {
    lists: Vec<Vec<IpAddr>>,
    asked: Arc<AtomicUsize>,
}

impl Answers {
    fn new(lists: &[&[&str]]) -> Self {
        let read = |list: &&[&str]| list.iter().map(|ip| ip.parse().unwrap()).collect();
        Self { lists: lists.iter().map(read).collect(), asked: Arc::default() }
    }
}

impl Resolve for Answers {
    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
        assert_eq!(host, HOST);
        let n = self.asked.fetch_add(1, Ordering::SeqCst).min(self.lists.len() - 1);
        Ok(self.lists[n].clone())
    }
}

/// No name server at all: what is mapped must not ask one.
struct Nobody;

impl Resolve for Nobody {
    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
        Err(ResolveError { host: host.to_owned(), why: "nobody is asked here".to_owned() })
    }
}

/// An HTTPS server for `name` on this machine, and settings that map and trust it.
async fn target(routes: Router, name: &str) -> (Server, EgressSettings) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let tls = ServerTls::new(chain.as_bytes(), key.as_bytes()).unwrap();
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let server = Server::start_tls(listener, &tls, routes, ServerLimits::default());
    let settings = EgressSettings {
        map_hosts: vec![MapHost::new(HOST, server.address()).unwrap()],
        extra_roots_pem: vec![chain.into_bytes()],
        ..EgressSettings::default()
    };
    (server, settings)
}

async fn ask(settings: EgressSettings, path: &str, request: EgressRequest) -> Exchanged {
    Egress::new(settings, Nobody).unwrap().exchange(AGENT, permit(path), request).await
}

/// A listed name that resolves to these, and what is said of it. Nothing is ever dialled.
async fn check(addresses: &[&str], own: &[&str], code: &str, says: &str) {
    let settings = EgressSettings {
        own_addresses: own.iter().map(|ip| ip.parse().unwrap()).collect(),
        ..EgressSettings::default()
    };
    let egress = Egress::new(settings, Answers::new(&[addresses])).unwrap();
    let exchanged = egress.exchange(AGENT, permit("/"), EgressRequest::get()).await;
    let error = exchanged.answer.unwrap_err();
    assert_eq!(error.code(), code, "{addresses:?}: {error}");
    assert!(error.to_string().contains(says), "{addresses:?}: {error}");
    let decision = exchanged.decision;
    assert_eq!(decision.verdict, Verdict::Denied);
    assert_eq!((decision.sent, decision.received), (0, 0));
    let shown: Vec<String> = decision.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(shown.len(), addresses.len());
    assert!(decision.reason.unwrap().starts_with(code));
}

#[tokio::test]
async fn a_listed_name_never_leads_into_the_nodes_own_network() {
    for address in [
        "127.0.0.1",
        "10.0.0.7",
        "169.254.169.254",
        "192.168.1.1",
        "100.64.0.1",
        "0.0.0.0",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.7",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "fe80::1",
        "fd00::1",
    ] {
        check(&[address], &[], "DAEE-E001", "not a public address").await;
        // One bad address among good ones spoils the name.
        check(&["1.1.1.1", address], &[], "DAEE-E001", "not a public address").await;
    }
    check(&["1.1.1.1"], &["1.1.1.1"], "DAEE-E001", "this node").await;
    check(&[], &[], "DAEE-E001", "does not resolve").await;
}

#[tokio::test]
async fn a_name_is_looked_up_once_so_a_second_answer_reaches_nobody() {
    // The answer that a rebinding server would give to a second question is a server that is there.
    let inside = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let answers = Answers::new(&[&["192.0.2.1", "127.0.0.1"], &["127.0.0.1"]]);
    let asked = answers.asked.clone();
    let egress = Egress::new(EgressSettings::default(), answers).unwrap();
    let exchanged = egress.exchange(AGENT, permit("/"), EgressRequest::get()).await;
    assert_eq!(exchanged.answer.unwrap_err().code(), "DAEE-E001");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let came = tokio::time::timeout(SHORT, inside.accept()).await;
    assert!(came.is_err(), "somebody was dialled");
}

/// A name server on this machine that answers every question for an A record with this address.
async fn name_server(address: [u8; 4]) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        loop {
            let (len, from) = socket.recv_from(&mut buffer).await.unwrap();
            let question_end = 12 + buffer[12..len].iter().position(|b| *b == 0).unwrap() + 5;
            let wants_a = buffer[question_end - 4..question_end - 2] == [0, 1];
            let mut answer = buffer[..2].to_vec();
            answer.extend([0x81, 0x80, 0, 1, 0, u8::from(wants_a), 0, 0, 0, 0]);
            answer.extend(&buffer[12..question_end]);
            if wants_a {
                // A pointer to the question's name, A, IN, 60 s, 4 bytes.
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                answer.extend(address);
            }
            socket.send_to(&answer, from).await.unwrap();
        }
    });
    at
}

#[tokio::test]
async fn what_a_real_name_server_answers_is_judged_too() {
    let resolver = Resolver::servers(&[name_server([169, 254, 169, 254]).await]).unwrap();
    let egress = Egress::new(EgressSettings::default(), resolver).unwrap();
    let exchanged = egress.exchange(AGENT, permit("/"), EgressRequest::get()).await;
    let error = exchanged.answer.unwrap_err();
    assert!(error.to_string().contains("169.254.169.254"), "{error}");
    assert_eq!(error.code(), "DAEE-E001");
}

#[tokio::test]
async fn the_resolver_takes_no_number_and_no_local_name_for_a_name() {
    let resolver = Resolver::servers(&[name_server([9, 9, 9, 9]).await]).unwrap();
    assert_eq!(
        resolver.resolve("api.example.com").await.unwrap(),
        ["9.9.9.9".parse::<IpAddr>().unwrap()]
    );
    // To the system's resolver this is 127.0.0.1; here it is a name like any other.
    let number = resolver.resolve("2130706433").await.unwrap();
    assert_eq!(number, ["9.9.9.9".parse::<IpAddr>().unwrap()]);
}

#[tokio::test]
async fn a_mapped_name_is_spoken_to_as_itself_without_asking_anybody() {
    let show = |request: Request| async move {
        let mut shown = format!("{} {}", request.method(), request.uri());
        for name in ["host", "x-kept", "connection", "te", "x-hop", "content-length", "user-agent"]
        {
            if let Some(value) = request.headers().get(name) {
                shown += &format!(" {name}={}", value.to_str().unwrap());
            }
        }
        shown
    };
    let (_server, settings) = target(Router::new().fallback(any(show)), HOST).await;
    let headers = [
        ("Host", "evil.example"),
        ("X-Kept", "1"),
        ("Connection", "keep-alive, x-hop"),
        ("X-Hop", "1"),
        ("TE", "trailers"),
        ("Content-Length", "999"),
    ];
    let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    let request = EgressRequest {
        method: "POST".to_owned(),
        headers: headers.collect(),
        body: b"body".to_vec(),
        ..EgressRequest::get()
    };
    let exchanged = ask(settings, "/price?of=talos", request).await;
    assert_eq!(exchanged.decision.verdict, Verdict::Mapped);
    assert_eq!(
        (exchanged.decision.sent, exchanged.decision.received),
        (4, exchanged.answer.as_ref().unwrap().body.len() as u64)
    );
    let body = String::from_utf8(exchanged.answer.unwrap().body).unwrap();
    assert_eq!(
        body,
        "POST /price?of=talos host=api.example.com x-kept=1 connection=close content-length=4 user-agent=daee"
    );
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let routes = Router::new().fallback(any(|| async { "hello" }));
    let (_server, settings) = target(routes, "other.example.com").await;
    let error = ask(settings, "/", EgressRequest::get()).await.answer.unwrap_err();
    assert_eq!((error.code(), error.fault()), ("DAEE-E007", Fault::Network));
    assert!(error.to_string().contains("no TLS with api.example.com"), "{error}");
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let inside = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = format!("http://{}/", inside.local_addr().unwrap());
    let location = to.clone();
    let routes = Router::new().fallback(any(|| async move { Redirect::temporary(&location) }));
    let (_server, settings) = target(routes, HOST).await;
    let answer = ask(settings, "/", EgressRequest::get()).await.answer.unwrap();
    assert_eq!(answer.status, 307);
    assert!(answer.headers.contains(&("location".to_owned(), to)));
    let came = tokio::time::timeout(SHORT, inside.accept()).await;
    assert!(came.is_err(), "the redirect was followed");
}

#[tokio::test]
async fn an_answer_is_cut_at_the_lower_of_two_bounds() {
    let routes = Router::new().fallback(any(|| async { vec![7; 2000] }));
    let (_server, mut settings) = target(routes, HOST).await;
    let asking = |max| EgressRequest { body_max: ByteSize(max), ..EgressRequest::get() };
    assert!(ask(settings.clone(), "/", asking(2000)).await.answer.is_ok());
    let cut = ask(settings.clone(), "/", asking(1999)).await;
    assert_eq!(cut.answer.unwrap_err().code(), "DAEE-E005");
    settings.caps.answer_bytes_max = ByteSize(1000);
    let cut = ask(settings, "/", asking(u64::MAX)).await;
    assert_eq!(cut.answer.unwrap_err().to_string(), "the answer is larger than 1000 B");
    assert_eq!(cut.decision.received, 1000, "what was read is charged");
}

#[tokio::test]
async fn a_target_that_takes_its_time_is_left() {
    let routes = Router::new().fallback(any(std::future::pending::<()>));
    let (_server, mut settings) = target(routes, HOST).await;
    let asking = EgressRequest { time: SHORT, ..EgressRequest::get() };
    let left = ask(settings.clone(), "/", asking).await.answer.unwrap_err();
    assert_eq!((left.code(), left.fault()), ("DAEE-E006", Fault::Network));
    settings.caps.exchange_millis_max = 200;
    let patient = EgressRequest { time: Duration::from_secs(3600), ..EgressRequest::get() };
    let left = ask(settings.clone(), "/", patient.clone()).await.answer.unwrap_err();
    assert_eq!(left.code(), "DAEE-E006");
    // One that accepts and never speaks TLS holds nobody up either.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    settings.map_hosts = vec![MapHost::new(HOST, silent.local_addr().unwrap()).unwrap()];
    let left = ask(settings, "/", patient).await.answer.unwrap_err();
    assert_eq!(left.code(), "DAEE-E006");
}

#[tokio::test]
async fn what_an_agent_may_not_send_is_not_sent() {
    let routes = Router::new().fallback(any(|| async { "hello" }));
    let (_server, settings) = target(routes, HOST).await;
    let with = |name: &str, value: &str| EgressRequest {
        headers: vec![(name.to_owned(), value.to_owned())],
        ..EgressRequest::get()
    };
    let method = |method: &str| EgressRequest { method: method.to_owned(), ..EgressRequest::get() };
    for request in [
        method("CONNECT"),
        method("TRACE"),
        method("get"),
        method("GET / HTTP/1.1\r\nhost: evil\r\n\r\nGET"),
        with("x y", "1"),
        with("x", "1\r\nhost: evil"),
        with("x", &"y".repeat(20 << 10)),
        EgressRequest { body: vec![0; (1 << 20) + 1], ..method("POST") },
    ] {
        let exchanged = ask(settings.clone(), "/", request).await;
        let error = exchanged.answer.unwrap_err();
        assert_eq!((error.code(), error.fault()), ("DAEE-E004", Fault::Developer), "{error}");
        assert_eq!(exchanged.decision.verdict, Verdict::Denied);
    }
}

#[tokio::test]
async fn an_agent_at_its_bound_is_told_when_to_come_again() {
    let (arrived, mut arrivals) = mpsc::channel(8);
    let hold = move || {
        let arrived = arrived.clone();
        async move {
            arrived.send(()).await.unwrap();
            std::future::pending::<()>().await;
        }
    };
    let (_server, mut settings) = target(Router::new().fallback(any(hold)), HOST).await;
    settings.caps = Caps { agent_connections_max: 1, ..Caps::default() };
    let egress = Arc::new(Egress::new(settings, Nobody).unwrap());
    let first = tokio::spawn({
        let egress = egress.clone();
        async move { egress.exchange(AGENT, permit("/"), EgressRequest::get()).await }
    });
    arrivals.recv().await.unwrap();
    let second = egress.exchange(AGENT, permit("/"), EgressRequest::get()).await;
    let error = second.answer.unwrap_err();
    assert_eq!(error.code(), "DAEE-E003");
    assert!(error.to_string().contains("try again in"), "{error}");
    // Whoever gives up gives the place back.
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let short = EgressRequest { time: SHORT, ..EgressRequest::get() };
    let third = egress.exchange(AGENT, permit("/"), short).await;
    assert_eq!(third.answer.unwrap_err().code(), "DAEE-E006", "it was let through");
}

#[test]
fn only_names_and_addresses_of_this_machine_can_be_mapped() {
    for good in ["a.example=127.0.0.1:8443", "a.example=[::1]:8443"] {
        assert!(good.parse::<MapHost>().is_ok(), "{good}");
    }
    for bad in
        ["", "a.example", "=127.0.0.1:1", "a.example=127.0.0.1", "a.example=10.0.0.1:1", "a=b:1"]
    {
        assert_eq!(bad.parse::<MapHost>().unwrap_err().code(), "DAEE-E010", "{bad}");
    }
}

#[tokio::test]
async fn a_decision_is_one_line_of_a_log() {
    let egress =
        Egress::new(EgressSettings::default(), Answers::new(&[&["1.1.1.1", "10.0.0.7"]])).unwrap();
    let exchanged = egress.exchange(AGENT, permit("/"), EgressRequest::get()).await;
    let line = exchanged.decision.to_string();
    assert!(
        line.starts_with(
            "egress denied api.example.com:443 [1.1.1.1 10.0.0.7] sent 0 received 0 in "
        ),
        "{line}"
    );
    assert!(line.ends_with("but resolves to 10.0.0.7, which is not a public address"), "{line}");
}
