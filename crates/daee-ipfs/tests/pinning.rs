//! What a pinning service may answer, and what is believed of it.

use std::collections::BTreeMap;

use daee_artifact::ArtifactCid;
use daee_http::{
    Bytes, Client, Roots, Server, ServerLimits,
    axum::{
        Router,
        body::Body,
        http::{HeaderMap, Method, Uri},
        response::Response,
    },
    bind,
};
use daee_ipfs::{Authorization, Pin, PinState, Pinning};
use daee_types::{Coded as _, Fault};
use serde_json::{Value, json};

fn cid() -> ArtifactCid {
    ArtifactCid::of(b"module").unwrap()
}

fn pin() -> Pin {
    let meta = BTreeMap::from([("part".to_owned(), "artifact".to_owned())]);
    Pin::new(cid(), "acme.agent@v1.0.0", &["/ip4/1.1.1.1/tcp/1".to_owned()], meta)
}

async fn start(routes: Router) -> (Server, Pinning) {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let server = Server::start(listener, routes, ServerLimits::default());
    let url = format!("http://{}/", server.address());
    let token = Authorization::bearer("sesame").unwrap();
    let pinning = Pinning::new(Client::new(&Roots::none()).unwrap(), &url, token).unwrap();
    (server, pinning)
}

/// A server that gives every request this status and body.
async fn serve(status: u16, body: impl Into<Bytes>) -> (Server, Pinning) {
    let body = body.into();
    let answer = move || async move {
        let builder = Response::builder().status(status).header("location", "http://elsewhere/");
        builder.body(Body::from(body)).unwrap()
    };
    start(Router::new().fallback(answer)).await
}

fn status(request: &str, cid: &str, state: &str) -> Value {
    json!({
        "requestid": request, "status": state, "created": "2026-11-24T00:00:00Z",
        "pin": {"cid": cid}, "delegates": ["/ip4/2.2.2.2/tcp/2"],
        "info": {"status_details": "third in the queue"},
    })
}

/// Asks a server with this answer for a pin: its code, and what it says.
async fn check(answer: u16, body: impl Into<Bytes>, code: &str, says: &[&str]) {
    let (_server, service) = serve(answer, body).await;
    let error = service.add(&pin()).await.unwrap_err();
    assert_eq!(error.code(), code, "{error}");
    for part in says.iter().chain(&[service.base()]) {
        assert!(error.to_string().contains(part), "{part} is not in {error}");
    }
    assert!(!error.to_string().contains("sesame"), "{error}");
}

#[tokio::test]
async fn a_pin_is_asked_for_by_name_and_with_where_it_is() {
    let heard = async |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
        assert_eq!(headers["authorization"], "Bearer sesame");
        let cid = cid().to_string();
        if method == Method::GET && uri.path() == "/pins" {
            assert!(uri.query().unwrap().starts_with(&format!("cid={cid}&status=queued,")));
            let other = ArtifactCid::of(b"x").unwrap().to_string();
            let all = [
                status("1", &cid, "failed"),
                status("2", &cid, "pinning"),
                status("3", &cid, "queued"),
                status("4", &other, "pinned"),
            ];
            return json!({"count": 4, "results": all}).to_string();
        }
        if method == Method::GET {
            assert_eq!(uri.path(), "/pins/a%2Fb%3F");
            return status("a/b?", &cid, "pinned").to_string();
        }
        let asked: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            asked,
            json!({
                "cid": cid, "name": "acme.agent@v1.0.0", "origins": ["/ip4/1.1.1.1/tcp/1"],
                "meta": {"part": "artifact"},
            })
        );
        status("a/b?", &cid, "queued").to_string()
    };
    let (_server, service) = start(Router::new().fallback(heard)).await;
    let asked = service.add(&pin()).await.unwrap();
    assert_eq!(asked.state, PinState::Queued);
    assert_eq!(asked.delegates, ["/ip4/2.2.2.2/tcp/2"]);
    assert_eq!(asked.details.as_deref(), Some("third in the queue"));
    let later = service.status(&asked.request, &cid()).await.unwrap();
    assert_eq!(later.state, PinState::Pinned);
    // The furthest of those that are of this CID.
    let found = service.find(&cid()).await.unwrap().unwrap();
    assert_eq!((found.request.as_str(), found.state), ("2", PinState::Pinning));
}

#[tokio::test]
async fn another_cid_is_named_with_the_one_that_was_sent() {
    let other = ArtifactCid::of(b"something else").unwrap().to_string();
    let body = status("1", &other, "pinned").to_string();
    check(202, body, "DAEE-I043", &[&cid().to_string(), &other]).await;
    check(202, status("1", "", "pinned").to_string(), "DAEE-I043", &[]).await;
}

#[tokio::test]
async fn a_refusal_is_repeated_with_what_helps() {
    let refused = |reason: &str| json!({"error": {"reason": reason, "details": "pay"}}).to_string();
    check(409, refused("INSUFFICIENT_FUNDS"), "DAEE-I041", &["INSUFFICIENT_FUNDS: pay"]).await;
    check(401, refused("UNAUTHORIZED"), "DAEE-I041", &["DAEE_PIN_TOKEN"]).await;
    check(400, "<html>", "DAEE-I041", &["does not say why"]).await;
    let (_server, service) = serve(500, refused("INTERNAL")).await;
    assert_eq!(service.add(&pin()).await.unwrap_err().fault(), Fault::Network);
}

#[tokio::test]
async fn what_answers_in_another_way_is_said_to_be_something_else() {
    check(301, "", "DAEE-I042", &["http://elsewhere/"]).await;
    check(200, "<html>", "DAEE-I042", &["`/pins`"]).await;
    check(202, "{}", "DAEE-I042", &[]).await;
    check(202, status("1", &cid().to_string(), "lost").to_string(), "DAEE-I042", &[]).await;
    check(202, status("", &cid().to_string(), "queued").to_string(), "DAEE-I042", &[]).await;
    let long = "x".repeat(600);
    check(202, status(&long, &cid().to_string(), "queued").to_string(), "DAEE-I042", &[]).await;
    check(202, vec![b' '; 2 << 20], "DAEE-I042", &["larger than"]).await;
}

#[tokio::test]
async fn what_the_api_bounds_is_cut_to_its_bounds() {
    let many: Vec<String> = (0..30).map(|n| format!("/ip4/1.1.1.1/tcp/{n}")).collect();
    let pin = Pin::new(cid(), &"\u{e4}".repeat(200), &many, BTreeMap::new());
    let sent = serde_json::to_value(&pin).unwrap();
    assert_eq!(sent["origins"].as_array().unwrap().len(), 20);
    assert!(sent["name"].as_str().unwrap().len() <= 255);
}
