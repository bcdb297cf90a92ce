//! The client's side: gateways that do what gateways should not.

mod kit;

use std::{sync::Arc, time::Duration};

use daee_artifact::Cid;
use daee_http::{
    Client, Roots, Server, ServerLimits,
    axum::{Router, response::IntoResponse},
    bind,
};
use daee_ipfs::{FetchError, FetchSettings, Gateways, Outcome};
use daee_types::{ByteSize, Coded as _, Fault};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::Semaphore,
};

use crate::kit::gateway;

const BLOCK: &[u8] = b"what the CID names";
const SHORT: Duration = Duration::from_millis(100);

fn settings() -> FetchSettings {
    FetchSettings { gateway_time: SHORT, ..FetchSettings::default() }
}

fn gateways(bases: &[&str], settings: FetchSettings) -> Gateways {
    let urls = bases.iter().map(ToString::to_string).collect();
    Gateways::new(urls, Client::new(&Roots::none()).unwrap(), settings).unwrap()
}

fn base(server: &Server) -> String {
    format!("http://{}/", server.address())
}

/// A gateway that answers this to everything.
async fn answers<A: IntoResponse + Clone + Send + Sync + 'static>(answer: A) -> Server {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let routes = Router::new().fallback(move || async move { answer });
    Server::start(listener, routes, ServerLimits::default())
}

/// A gateway that writes these bytes to whoever comes and then says no more.
async fn writes(bytes: &'static [u8], closes: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(bytes).await.unwrap();
            if !closes {
                open.push(stream);
            }
        }
    });
    base
}

/// What one bad gateway is said to have done; and that with a good one beside it nothing is lost.
async fn check(bad: &str, want: Outcome) {
    let cid = Cid::of(BLOCK);
    let alone = gateways(&[bad], settings());
    match alone.fetch_raw(&cid, ByteSize::mib(1)).await.unwrap_err() {
        error @ FetchError::NotFound { .. } => {
            assert_eq!(error.fault(), Fault::Network);
            let FetchError::NotFound { tried, .. } = error else { unreachable!() };
            let outcomes: Vec<_> = tried.iter().map(|tried| &tried.outcome).collect();
            match (&want, outcomes[..].first()) {
                (Outcome::Down(_), Some(Outcome::Down(_))) => {}
                _ => assert_eq!(outcomes, [&want]),
            }
        }
        other => panic!("{other}"),
    }
    let good = gateway(&[BLOCK]).await;
    let both = gateways(&[bad, &base(&good)], settings());
    assert_eq!(both.fetch_raw(&cid, ByteSize::mib(1)).await.unwrap(), BLOCK, "{want:?}");
}

#[tokio::test]
async fn one_that_lies_is_not_believed() {
    check(&base(&answers("something else").await), Outcome::Lied).await;
    check(&base(&answers("").await), Outcome::Lied).await;
    // Cut short, but with an honest length: only the hash shows it.
    check(&base(&answers(&BLOCK[..10]).await), Outcome::Lied).await;
}

#[tokio::test]
async fn one_that_stalls_is_left() {
    check(&writes(b"", false).await, Outcome::Stalled).await;
    check(
        &writes(b"HTTP/1.1 200 OK\r\ncontent-length: 18\r\n\r\nwhat", false).await,
        Outcome::Stalled,
    )
    .await;
}

#[tokio::test]
async fn one_that_is_down_or_breaks_off_is_left() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    check(&format!("http://{free}"), Outcome::Down(String::new())).await;
    let cut = writes(b"HTTP/1.1 200 OK\r\ncontent-length: 18\r\n\r\nwhat", true).await;
    check(&cut, Outcome::Down(String::new())).await;
    check(&writes(b"220 smtp ready\r\n", true).await, Outcome::Down(String::new())).await;
}

#[tokio::test]
async fn one_that_sends_too_much_is_cut_off() {
    check(&base(&answers(vec![0_u8; (4 << 20) + 1]).await), Outcome::Oversized).await;
}

#[tokio::test]
async fn one_that_has_nothing_or_fails_is_told_apart() {
    check(&base(&gateway(&[]).await), Outcome::Absent).await;
    let status = daee_http::http::StatusCode::TOO_MANY_REQUESTS;
    check(&base(&answers(status).await), Outcome::Status(429)).await;
    let moved = (daee_http::http::StatusCode::FOUND, [("location", "http://127.0.0.1:1/")]);
    check(&base(&answers(moved).await), Outcome::Status(302)).await;
}

#[tokio::test]
async fn the_error_says_what_each_one_did() {
    let liar = answers("something else").await;
    let empty = gateway(&[]).await;
    let gateways = gateways(&[&base(&liar), &base(&empty)], settings());
    let error = gateways.fetch_raw(&Cid::of(BLOCK), ByteSize::mib(1)).await.unwrap_err();
    assert_eq!(error.code(), "DAEE-I022");
    let text = error.to_string();
    for (server, did) in
        [(&liar, "sent other content than the CID names"), (&empty, "does not have it")]
    {
        assert!(text.contains(&format!("http://{} {did}", server.address())), "{text}");
    }
    let none = self::gateways(&[], settings());
    let error = none.fetch_raw(&Cid::of(BLOCK), ByteSize::mib(1)).await.unwrap_err();
    assert!(error.to_string().contains("--gateway"), "{error}");
}

#[tokio::test]
async fn content_that_is_too_large_is_the_developers_fault_once_its_size_is_proven() {
    let large = vec![7_u8; 2000];
    let good = gateway(&[&large]).await;
    let gateways = gateways(&[&base(&good)], settings());
    let error = gateways.fetch_raw(&Cid::of(&large), ByteSize(1999)).await.unwrap_err();
    assert_eq!((error.code(), error.fault()), ("DAEE-I021", Fault::Developer));
    assert!(gateways.fetch_raw(&Cid::of(&large), ByteSize(2000)).await.is_ok());
    // A liar cannot pin that on the developer.
    let liar = answers(vec![8_u8; 3000]).await;
    let gateways = self::gateways(&[&base(&liar)], settings());
    let error = gateways.fetch_raw(&Cid::of(&large), ByteSize(1999)).await.unwrap_err();
    assert_eq!((error.code(), error.fault()), ("DAEE-I022", Fault::Network));
}

#[tokio::test]
async fn a_slow_one_holds_nobody_up() {
    let stalls = writes(b"", false).await;
    let good = gateway(&[BLOCK]).await;
    // The first may take so long that only the second can be the one that delivered.
    let patient = FetchSettings {
        gateway_time: Duration::from_secs(3600),
        hedge_after: Duration::from_millis(10),
        ..settings()
    };
    let gateways = gateways(&[&stalls, &base(&good)], patient);
    assert_eq!(gateways.fetch_raw(&Cid::of(BLOCK), ByteSize::mib(1)).await.unwrap(), BLOCK);
}

#[tokio::test]
async fn one_that_lied_is_asked_last_from_then_on() {
    let asked = Arc::new(Semaphore::new(0));
    let counts = asked.clone();
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let lie = move || async move {
        counts.add_permits(1);
        "something else"
    };
    let liar = Server::start(listener, Router::new().fallback(lie), ServerLimits::default());
    let good = gateway(&[BLOCK]).await;
    let gateways = gateways(&[&base(&liar), &base(&good)], settings());
    for _ in 0..3 {
        assert_eq!(gateways.fetch_raw(&Cid::of(BLOCK), ByteSize::mib(1)).await.unwrap(), BLOCK);
    }
    assert_eq!(asked.available_permits(), 1);
    // Last is not never: it is still better than nobody.
    gateways.fetch_raw(&Cid::of(b"nobody has this"), ByteSize::mib(1)).await.unwrap_err();
    assert_eq!(asked.available_permits(), 2);
}

#[test]
fn what_is_no_base_url_is_no_gateway() {
    let client = Client::new(&Roots::none()).unwrap();
    for bad in ["", "gateway.example", "ftp://gateway.example", "https://", "http://a/?x=1"] {
        let made = Gateways::new(vec![bad.to_owned()], client.clone(), settings());
        assert_eq!(made.map(|_| ()).unwrap_err().code(), "DAEE-I020", "{bad}");
    }
}
