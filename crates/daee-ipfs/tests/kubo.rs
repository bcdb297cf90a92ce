//! What a Kubo-style RPC may answer, and what is believed of it.

use daee_artifact::{ArtifactCid, FileHasher};
use daee_http::{
    Bytes, Client, Roots, Server, ServerLimits,
    axum::{
        Router,
        body::Body,
        http::{HeaderMap, Uri},
        response::Response,
    },
    bind,
};
use daee_ipfs::{Authorization, Car, Imported, Kubo, Source};
use daee_types::{Coded as _, Fault};

fn car() -> Car {
    let mut hasher = FileHasher::new();
    hasher.update(b"module");
    let source = Source::Bytes(Bytes::from_static(b"module"));
    let (body, yaml) = (Bytes::from_static(b"{}"), Bytes::from_static(b"a: 1\n"));
    Car::package(hasher.finish().unwrap(), &source, body, yaml).unwrap()
}

/// A server that gives every request this status and body.
async fn serve(status: u16, body: impl Into<Bytes>) -> (Server, Kubo) {
    let body = body.into();
    let answer = move || async move {
        let builder = Response::builder().status(status).header("location", "http://elsewhere/");
        builder.body(Body::from(body)).unwrap()
    };
    start(Router::new().fallback(answer)).await
}

async fn start(routes: Router) -> (Server, Kubo) {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let server = Server::start(listener, routes, ServerLimits::default());
    let url = format!("http://{}/api/v0/", server.address());
    let secret = Authorization::read("basic:me:sesame").unwrap();
    let kubo = Kubo::new(Client::new(&Roots::none()).unwrap(), &url, Some(secret)).unwrap();
    (server, kubo)
}

fn root(cid: &str, problem: &str) -> String {
    format!("{{\"Root\":{{\"Cid\":{{\"/\":\"{cid}\"}},\"PinErrorMsg\":\"{problem}\"}}}}\n")
}

fn roots() -> [String; 3] {
    car().roots().map(|cid| cid.to_string())
}

/// Imports from a server with this answer: its code, and what it says.
async fn check(status: u16, body: impl Into<Bytes>, code: &str, says: &[&str]) {
    let (_server, kubo) = serve(status, body).await;
    let error = kubo.import(&car(), 0, |_| {}).await.unwrap_err();
    assert_eq!(error.code(), code, "{error}");
    for part in says.iter().chain(&[kubo.base()]) {
        assert!(error.to_string().contains(part), "{part} is not in {error}");
    }
    assert!(!error.to_string().contains("sesame"), "{error}");
}

#[tokio::test]
async fn every_root_has_to_come_back_in_whatever_order() {
    let [artifact, body, yaml] = roots();
    let stats = "{\"Stats\":{\"BlockCount\":3,\"BlockBytesCount\":13}}\n";
    for order in [[&artifact, &body, &yaml], [&yaml, &artifact, &body]] {
        let lines: String = order.iter().map(|cid| root(cid, "")).collect();
        let (_server, kubo) = serve(200, lines.clone() + stats).await;
        let imported = kubo.import(&car(), 0, |_| {}).await.unwrap();
        assert_eq!(imported, Imported { blocks: Some(3), bytes: Some(13) });
        let (_server, kubo) = serve(200, lines).await;
        assert_eq!(kubo.import(&car(), 0, |_| {}).await.unwrap(), Imported::default());
    }
}

#[tokio::test]
async fn another_cid_is_named_with_the_one_that_was_sent() {
    let [artifact, body, yaml] = roots();
    let other = ArtifactCid::of(b"something else").unwrap().to_string();
    let lines = |cids: &[&String]| cids.iter().map(|cid| root(cid, "")).collect::<String>();
    check(200, lines(&[&other, &body, &yaml]), "DAEE-I036", &[&artifact, &other]).await;
    check(200, lines(&[&artifact, &body]), "DAEE-I036", &[&yaml]).await;
    check(200, lines(&[&artifact, &body, &yaml, &other]), "DAEE-I036", &[&other]).await;
    check(200, lines(&[&artifact, &artifact, &artifact]), "DAEE-I036", &[&body]).await;
    check(200, lines(&[&"not a cid".to_owned()]), "DAEE-I036", &["not a cid"]).await;
    check(200, "", "DAEE-I036", &["none"]).await;
}

#[tokio::test]
async fn what_is_not_pinned_is_not_kept() {
    let [artifact, body, yaml] = roots();
    let lines = [root(&artifact, "block not found"), root(&body, ""), root(&yaml, "")].concat();
    check(200, lines, "DAEE-I037", &[&artifact, "block not found"]).await;
    let broke = [root(&artifact, ""), "{\"Message\":\"disk full\",\"Type\":\"error\"}".into()];
    check(200, broke.concat(), "DAEE-I034", &["disk full"]).await;
}

#[tokio::test]
async fn what_answers_in_another_way_is_said_to_be_something_else() {
    check(307, "", "DAEE-I035", &["http://elsewhere/", "Addresses.API"]).await;
    check(404, "<html>", "DAEE-I035", &["404"]).await;
    check(200, "<html>", "DAEE-I035", &[]).await;
    check(500, "<html>", "DAEE-I035", &["500"]).await;
    check(200, vec![b' '; 300 << 10], "DAEE-I035", &["larger than"]).await;
    check(500, "{\"Message\":\"not a CAR\"}", "DAEE-I034", &["not a CAR"]).await;
    check(401, "Unauthorized", "DAEE-I034", &["DAEE_KUBO_AUTH"]).await;
    let loud = format!("{{\"Message\":\"{}\\u001b[31m\"}}", "x".repeat(10_000));
    let (_server, kubo) = serve(503, loud).await;
    let error = kubo.version().await.unwrap_err();
    assert!(error.to_string().len() < 600 && !error.to_string().contains('\x1b'), "{error}");
    assert_eq!(error.fault(), Fault::Network, "it may be answered otherwise later");
}

#[tokio::test]
async fn what_is_asked_is_asked_with_the_secret_and_about_this_machine_alone() {
    let heard = async |uri: Uri, headers: HeaderMap| {
        let secret = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(secret.as_deref(), Some("Basic bWU6c2VzYW1l"));
        let query = uri.query().unwrap_or_default();
        let arg = query.split(['=', '&']).nth(1).unwrap_or_default();
        match uri.path() {
            "/api/v0/pin/ls" => format!("{{\"Keys\":{{\"{arg}\":{{\"Type\":\"recursive\"}}}}}}"),
            "/api/v0/block/stat" if query.contains("offline=true") => {
                format!("{{\"Key\":\"{arg}\",\"Size\":6}}")
            }
            "/api/v0/id" => "{\"Addresses\":[\"/ip4/1.1.1.1/tcp/1\"]}".to_owned(),
            "/api/v0/swarm/connect" => format!("{{\"Strings\":[\"{arg}\"]}}"),
            _ => "{\"Version\":\"0.39.0\"}".to_owned(),
        }
    };
    let (_server, kubo) = start(Router::new().fallback(heard)).await;
    let [cid, ..] = *car().roots();
    assert_eq!(kubo.version().await.unwrap(), "0.39.0");
    assert!(kubo.pins(&cid).await.unwrap());
    assert!(kubo.has(&cid).await.unwrap());
    assert_eq!(kubo.first_missing(&car()).await.unwrap(), 3);
    assert_eq!(kubo.addresses().await.unwrap(), ["/ip4/1.1.1.1/tcp/1"]);
    kubo.connect("/ip4/1.1.1.1/tcp/1?x&y").await.unwrap();
}

#[tokio::test]
async fn what_is_pinned_otherwise_or_is_another_block_is_not_there() {
    let [cid, ..] = *car().roots();
    let other = ArtifactCid::of(b"something else").unwrap();
    let pinned = async |body: String| serve(200, body).await.1.pins(&cid).await.unwrap();
    assert!(!pinned(format!("{{\"Keys\":{{\"{cid}\":{{\"Type\":\"indirect\"}}}}}}")).await);
    assert!(!pinned(format!("{{\"Keys\":{{\"{other}\":{{\"Type\":\"recursive\"}}}}}}")).await);
    let (_server, kubo) = serve(200, format!("{{\"Key\":\"{other}\",\"Size\":1}}")).await;
    assert!(!kubo.has(&cid).await.unwrap());
    let (_server, kubo) = serve(500, "{\"Message\":\"not pinned\",\"Code\":0}").await;
    assert!(!kubo.pins(&cid).await.unwrap());
    assert!(!kubo.has(&cid).await.unwrap());
    let (_server, kubo) = serve(403, "Forbidden").await;
    assert_eq!(kubo.pins(&cid).await.unwrap_err().code(), "DAEE-I034");
}
