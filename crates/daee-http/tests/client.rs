//! What servers may not do to a client.

use std::{io, net::SocketAddr, time::Duration};

use daee_http::{
    Bytes, Client, HttpError, Limits, Roots, Server, ServerLimits, ServerTls, Upload,
    axum::{
        Router,
        routing::{get, post},
    },
    bind, forward, http, ndjson_answer,
};
use daee_types::{ByteSize, Coded as _};
use futures_util::stream;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

const SHORT: Duration = Duration::from_millis(50);

fn client() -> Client {
    Client::new(&Roots::none()).unwrap()
}

fn limits() -> Limits {
    Limits { body_bytes_max: ByteSize(1000), ..Limits::default() }
}

async fn serve(routes: Router) -> Server {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    Server::start(listener, routes, ServerLimits::default())
}

/// A server that reads one head, writes these bytes and closes, or keeps the connection open.
async fn raw(answer: impl Into<Vec<u8>>, closes: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = answer.into();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        // The client may hang up before it has everything, which is what some tests want.
        let _ = stream.write_all(&answer).await;
        if !closes {
            std::future::pending::<()>().await;
        }
    });
    address
}

async fn check(answer: impl Into<Vec<u8>>, closes: bool, limits: Limits, want: Result<&str, &str>) {
    let url = format!("http://{}/", raw(answer, closes).await);
    let got = client().get(&url, &limits).await;
    let got = got.map(|answer| String::from_utf8(answer.body.to_vec()).unwrap());
    match want {
        Ok(body) => assert_eq!(got.as_deref(), Ok(body)),
        Err(code) => assert_eq!(got.map_err(|error| error.code()), Err(code)),
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_a_journey() {
    let answer = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    let url = format!("http://{}/", raw(answer, true).await);
    let got = client().get(&url, &limits()).await.unwrap();
    assert_eq!(got.status, 302);
    assert_eq!(got.headers["location"], "http://127.0.0.1:1/");
}

#[tokio::test]
async fn an_answer_is_cut_at_its_bound_whether_announced_or_not() {
    let exact = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(1000));
    check(exact, true, limits(), Ok(&"x".repeat(1000))).await;
    let announced = "HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n";
    check(announced, false, limits(), Err("DAEE-H016")).await;
    let unannounced = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(1001));
    check(unannounced, false, limits(), Err("DAEE-H016")).await;
    let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "x".repeat(64 << 10));
    check(endless, false, limits(), Err("DAEE-H017")).await;
}

#[tokio::test]
async fn a_server_that_stalls_is_left() {
    let short = Limits { total_time: SHORT, ..limits() };
    check("", false, short, Err("DAEE-H015")).await;
    check("HTTP/1.1 200 OK\r\ncontent-le", false, short, Err("DAEE-H015")).await;
    check("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", false, short, Err("DAEE-H015"))
        .await;
    let idle = Limits { idle_time: SHORT, ..limits() };
    check("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", false, idle, Err("DAEE-H015")).await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_answer() {
    check("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", true, limits(), Err("DAEE-H017"))
        .await;
    check("", true, limits(), Err("DAEE-H017")).await;
    check("SSH-2.0-OpenSSH_9.9\r\n\r\n", true, limits(), Err("DAEE-H017")).await;
}

#[tokio::test]
async fn nobody_at_home_is_said_with_the_address() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = client().get(&format!("http://{free}/"), &limits()).await.unwrap_err();
    assert_eq!(error.code(), "DAEE-H013");
    assert!(error.to_string().contains(&free.to_string()), "{error}");
}

#[tokio::test]
async fn what_is_no_plain_url_is_not_fetched() {
    for url in ["", "a.example", "ftp://a.example/", "http://user@a.example/", "file:///etc/passwd"]
    {
        let error = client().get(url, &limits()).await.unwrap_err();
        assert_eq!(error.code(), "DAEE-H010", "{url}");
    }
}

#[tokio::test]
async fn names_below_localhost_are_this_machine() {
    let host =
        |headers: http::HeaderMap| async move { headers["host"].to_str().unwrap().to_owned() };
    let server = serve(Router::new().route("/", get(host))).await;
    let name = format!("agent-7.localhost:{}", server.address().port());
    let answer = client().get(&format!("http://{name}/"), &limits()).await.unwrap();
    assert_eq!(answer.body, name);
}

#[tokio::test]
async fn tls_is_for_the_name_and_from_a_trusted_authority() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let tls = ServerTls::new(chain.as_bytes(), key.as_bytes()).unwrap();
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let routes = Router::new().route("/", get(|| async { "sealed" }));
    let server = Server::start_tls(listener, &tls, routes, ServerLimits::default());
    let at = |host: &str| format!("https://{host}:{}/", server.address().port());

    let trusting = Client::new(&Roots::none().and_pem(chain.as_bytes())).unwrap();
    assert_eq!(trusting.get(&at("localhost"), &limits()).await.unwrap().body, "sealed");
    let error = trusting.get(&at("other.localhost"), &limits()).await.unwrap_err();
    assert_eq!(error.code(), "DAEE-H014");
    let error = client().get(&at("localhost"), &limits()).await.unwrap_err();
    assert_eq!(error.code(), "DAEE-H014");
}

async fn lines(body: impl Into<Vec<u8>>) -> Vec<Result<u64, &'static str>> {
    let head = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    let url = format!("http://{}/", raw([head, body.into()].concat(), true).await);
    let request = http::Request::get("/").body(Bytes::new()).unwrap();
    let (_, body) = client().open(&url, request, &limits()).await.unwrap();
    let mut lines = body.lines(ByteSize(20));
    let mut got = Vec::new();
    loop {
        match lines.next().await {
            Ok(Some(value)) => got.push(Ok(value)),
            Ok(None) => return got,
            Err(error) => {
                got.push(Err(error.code()));
                return got;
            }
        }
    }
}

#[tokio::test]
async fn lines_come_one_by_one_and_whole() {
    assert_eq!(lines("1\n\n22\n").await, [Ok(1), Ok(22)]);
    assert_eq!(lines("").await, []);
    assert_eq!(lines("1\n2").await, [Ok(1), Err("DAEE-H017")]);
    assert_eq!(lines("1\nx\n3\n").await, [Ok(1), Err("DAEE-H017")]);
    assert_eq!(lines("9".repeat(50)).await, [Err("DAEE-H016")]);
}

#[tokio::test]
async fn values_are_streamed_as_they_come() {
    let (send, receive) = tokio::sync::mpsc::channel::<u64>(1);
    let receive = std::sync::Arc::new(tokio::sync::Mutex::new(receive));
    let route = move || {
        let receive = receive.clone();
        async move {
            ndjson_answer(stream::unfold(receive, |receive| async {
                let value = receive.lock().await.recv().await?;
                Some((value, receive))
            }))
        }
    };
    let server = serve(Router::new().route("/", get(route))).await;
    let request = http::Request::get("/").body(Bytes::new()).unwrap();
    let url = format!("http://{}/", server.address());
    let (head, body) = client().open(&url, request, &limits()).await.unwrap();
    assert_eq!(head.headers["content-type"], "application/x-ndjson");
    let mut lines = body.lines(ByteSize(100));
    for n in 0..3_u64 {
        // The next is not there before this one was read: nothing waits for a full buffer.
        send.send(n).await.unwrap();
        assert_eq!(lines.next::<u64>().await, Ok(Some(n)));
    }
    drop(send);
    assert_eq!(lines.next::<u64>().await, Ok(None));
}

async fn front(back: String) -> Server {
    let route = move |request: daee_http::axum::extract::Request| {
        let back = back.clone();
        async move { forward(&client(), &back, request, ByteSize(100), &limits()).await }
    };
    serve(Router::new().fallback(route)).await
}

async fn through(front: &Server, body: &str) -> Result<daee_http::Response, HttpError> {
    let url = format!("http://{}/path?q=1", front.address());
    let headers = [("host", "agent-7.localhost"), ("x-kept", "1")];
    client().send(http::Method::POST, &url, &headers, Bytes::from(body.to_owned()), &limits()).await
}

#[tokio::test]
async fn a_request_is_handed_on_as_it_came_but_for_the_connection() {
    let show = |request: daee_http::axum::extract::Request| async move {
        let (head, body) = request.into_parts();
        let host = head.headers["host"].to_str().unwrap().to_owned();
        let kept = head.headers.contains_key("x-kept");
        let body = daee_http::axum::body::to_bytes(body, 1000).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        let shown = format!("{} {} {host} {kept} {body}", head.method, head.uri);
        (http::StatusCode::CREATED, [("x-answer", "1"), ("keep-alive", "timeout=5")], shown)
    };
    let back = serve(Router::new().fallback(show)).await;
    let front = front(format!("http://{}", back.address())).await;
    let answer = through(&front, "body").await.unwrap();
    assert_eq!(answer.status, 201);
    assert_eq!(answer.headers["x-answer"], "1");
    assert!(!answer.headers.contains_key("keep-alive"), "it was about the other connection");
    assert_eq!(answer.body, "POST /path?q=1 agent-7.localhost true body");
}

#[tokio::test]
async fn two_that_hand_on_to_each_other_end_it() {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let itself = format!("http://{}", listener.local_addr().unwrap());
    let route = move |request: daee_http::axum::extract::Request| {
        let itself = itself.clone();
        async move { forward(&client(), &itself, request, ByteSize(100), &limits()).await }
    };
    let routes = Router::new().fallback(route);
    let server = Server::start(listener, routes, ServerLimits::default());
    assert_eq!(through(&server, "").await.unwrap().status, 508);
}

#[tokio::test]
async fn who_cannot_be_handed_to_is_named() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let front = front(format!("http://{free}")).await;
    let answer = through(&front, "").await.unwrap();
    assert_eq!(answer.status, 502);
    assert!(String::from_utf8_lossy(&answer.body).contains("DAEE-H013"));
    assert_eq!(through(&front, &"x".repeat(101)).await.unwrap().status, 413);
}

/// Sends these pieces as a body that is announced to be `bytes` long.
async fn send(
    url: &str,
    bytes: u64,
    pieces: Vec<io::Result<Bytes>>,
    limits: Limits,
) -> Result<String, &'static str> {
    let upload = Upload::new(bytes, stream::iter(pieces));
    let request = http::Request::post("/").body(upload).unwrap();
    let sent = async {
        let (_, body) = client().upload(url, request, &limits).await?;
        body.whole().await
    };
    let answer = sent.await.map_err(|error: HttpError| error.code())?;
    Ok(String::from_utf8(answer.to_vec()).unwrap())
}

#[tokio::test]
async fn a_body_is_read_while_it_is_sent_and_is_as_long_as_was_announced() {
    let shown = async |headers: http::HeaderMap, body: Bytes| {
        let announced = headers.get("content-length").map(|bytes| bytes.to_str().unwrap());
        format!("{} {}", announced.unwrap_or("0"), body.len())
    };
    let server = serve(Router::new().route("/", post(shown))).await;
    let url = format!("http://{}/", server.address());
    let check = async |bytes, pieces: &[&'static str], want: Result<&str, &str>| {
        let pieces = pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes()))).collect();
        assert_eq!(send(&url, bytes, pieces, limits()).await.as_deref(), want.as_deref());
    };
    check(8, &["one", "", "three"], Ok("8 8")).await;
    check(0, &[], Ok("0 0")).await;
    check(9, &["one", "three"], Err("DAEE-H018")).await;
    check(7, &["one", "three"], Err("DAEE-H018")).await;
    let unread = vec![Ok(Bytes::from_static(b"one")), Err(io::Error::other("the disk is gone"))];
    assert_eq!(send(&url, 8, unread, limits()).await, Err("DAEE-H018"));
}

#[tokio::test]
async fn a_server_that_takes_nothing_more_is_left() {
    // It reads the head and nothing of the body, which is more than any buffer between holds.
    let url = format!("http://{}/", raw("", false).await);
    let pieces: Vec<_> = (0..64).map(|_| Ok(Bytes::from(vec![0; 1 << 20]))).collect();
    let limits = Limits { idle_time: SHORT, ..limits() };
    assert_eq!(send(&url, 64 << 20, pieces, limits).await, Err("DAEE-H015"));
}
