//! What clients may not take of a server, and how it ends.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use daee_http::{
    Bytes, Server, ServerLimits,
    axum::{
        Router,
        extract::ConnectInfo,
        routing::{get, post},
    },
    bind, http,
};
use daee_types::{ByteSize, Coded as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{Notify, mpsc},
};

const SHORT: Duration = Duration::from_millis(50);

/// Short where a client may not take its time, long where the test itself must not be cut off.
fn limits() -> ServerLimits {
    ServerLimits { body_bytes_max: ByteSize(1000), ..ServerLimits::default() }
}

async fn server(limits: ServerLimits) -> Server {
    let routes = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/echo", post(|body: Bytes| async move { body }))
        .route("/never", get(std::future::pending::<()>))
        .route("/large", get(|| async { vec![7; 64 << 20] }))
        .route(
            "/peer",
            get(|peer: ConnectInfo<SocketAddr>| async move { peer.0.ip().to_string() }),
        );
    Server::start(bind("127.0.0.1:0".parse().unwrap()).await.unwrap(), routes, limits)
}

/// What the server says to these bytes until it closes the connection.
async fn check(server: &Server, sent: &[u8], starts: &str) {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(sent).await.unwrap();
    let mut got = Vec::new();
    // A server that closes on what it has not read resets the connection: an end like any other.
    let _ = stream.read_to_end(&mut got).await;
    let got = String::from_utf8_lossy(&got);
    assert!(got.starts_with(starts), "{got:?} for {:?}", String::from_utf8_lossy(sent));
    if starts.is_empty() {
        assert_eq!(got, "");
    }
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_fix() {
    let first = server(limits()).await;
    let error = bind(first.address()).await.unwrap_err();
    assert_eq!(error.code(), "DAEE-H001");
    let port = first.address().port();
    assert_eq!(
        error.to_string(),
        format!(
            "port {port} of 127.0.0.1 is in use: stop what listens there, or choose another port"
        )
    );
}

#[tokio::test]
async fn a_request_is_answered_and_knows_its_peer() {
    let server = server(limits()).await;
    check(&server, b"GET / HTTP/1.0\r\n\r\n", "HTTP/1.0 200 OK").await;
    check(&server, b"GET /peer HTTP/1.0\r\n\r\n", "HTTP/1.0 200 OK").await;
    check(&server, b"GET /absent HTTP/1.0\r\n\r\n", "HTTP/1.0 404").await;
}

#[tokio::test]
async fn what_is_larger_than_the_bounds_is_refused() {
    let server = server(ServerLimits { head_bytes_max: 8 << 10, ..limits() }).await;
    let long = format!("GET / HTTP/1.0\r\nx: {}\r\n\r\n", "x".repeat(20 << 10));
    check(&server, long.as_bytes(), "HTTP/1.1 431").await;
    let announced = "POST /echo HTTP/1.0\r\ncontent-length: 1001\r\n\r\n";
    check(&server, format!("{announced}{}", "x".repeat(1001)).as_bytes(), "HTTP/1.0 413").await;
    let chunks = format!("3e9\r\n{}\r\n0\r\n\r\n", "x".repeat(1001));
    let chunked = "POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\n";
    let chunked = format!("{chunked}transfer-encoding: chunked\r\n\r\n{chunks}");
    check(&server, chunked.as_bytes(), "HTTP/1.1 413").await;
    let fits = format!("POST /echo HTTP/1.0\r\ncontent-length: 1000\r\n\r\n{}", "x".repeat(1000));
    check(&server, fits.as_bytes(), "HTTP/1.0 200").await;
}

#[tokio::test]
async fn who_dawdles_is_hung_up_on() {
    let server = server(ServerLimits { head_time: SHORT, ..limits() }).await;
    // Nothing at all, the first words of HTTP/2, half a head, and a pause after a request.
    check(&server, b"", "").await;
    check(&server, b"PRI * HTT", "").await;
    check(&server, b"GET / HTTP/1.1\r\nhost:", "").await;
    check(&server, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", "HTTP/1.1 200").await;
}

#[tokio::test]
async fn who_never_reads_is_hung_up_on() {
    let server = server(ServerLimits { stall_time: SHORT, connections_max: 1, ..limits() }).await;
    let mut deaf = TcpStream::connect(server.address()).await.unwrap();
    deaf.write_all(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    // There is one place: this one is served only once the deaf one has lost it.
    check(&server, b"GET / HTTP/1.0\r\n\r\n", "HTTP/1.0 200").await;
    drop(deaf);
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_an_answer() {
    let server = server(ServerLimits { request_time: SHORT, ..limits() }).await;
    check(&server, b"GET /never HTTP/1.0\r\n\r\n", "HTTP/1.0 504").await;
    let unsent = b"POST /echo HTTP/1.0\r\ncontent-length: 10\r\n\r\nhalf";
    check(&server, unsent, "HTTP/1.0 504").await;
}

#[tokio::test]
async fn more_connections_than_allowed_wait_for_a_place() {
    let server = server(ServerLimits { connections_max: 1, ..limits() }).await;
    let mut first = TcpStream::connect(server.address()).await.unwrap();
    first.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    first.read_u8().await.unwrap();
    let mut second = TcpStream::connect(server.address()).await.unwrap();
    second.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let early = tokio::time::timeout(SHORT, second.read_u8()).await;
    assert!(early.is_err(), "the only place is taken");
    drop(first);
    assert_eq!(second.read_u8().await.unwrap(), b'H');
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_on_one_port() {
    let server = server(limits()).await;
    let stream = TcpStream::connect(server.address()).await.unwrap();
    let executor = hyper_util::rt::TokioExecutor::new();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("http://a.example/")
        .body(http_body_util::Empty::<Bytes>::new())
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.version(), http::Version::HTTP_2);
    let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
    assert_eq!(body, "hello");
}

#[tokio::test]
async fn stopping_lets_finish_what_is_under_way_and_accepts_no_more() {
    let (reached, mut was_reached) = mpsc::channel(1);
    let go_on = Arc::new(Notify::new());
    let waits = go_on.clone();
    let slow = move || async move {
        reached.send(()).await.unwrap();
        waits.notified().await;
        "late"
    };
    let routes = Router::new().route("/", get(slow));
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let limits = ServerLimits { drain_time: Duration::from_secs(600), ..limits() };
    let server = Server::start(listener, routes, limits);
    let address = server.address();

    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    was_reached.recv().await.unwrap();
    let stopping = tokio::spawn(server.stop());
    // Its listener is gone before what is under way ends.
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    go_on.notify_one();
    let mut got = String::new();
    stream.read_to_string(&mut got).await.unwrap();
    assert!(got.ends_with("late"), "{got}");
    stopping.await.unwrap();
}

#[tokio::test]
async fn stopping_does_not_wait_for_ever() {
    let (reached, mut was_reached) = mpsc::channel::<()>(1);
    let stuck = move || async move {
        reached.send(()).await.unwrap();
        std::future::pending::<()>().await;
    };
    let routes = Router::new().route("/", get(stuck));
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let server = Server::start(listener, routes, ServerLimits { drain_time: SHORT, ..limits() });
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    was_reached.recv().await.unwrap();
    server.stop().await;
    let mut got = Vec::new();
    let _ = stream.read_to_end(&mut got).await;
    assert_eq!(got, b"");
}
