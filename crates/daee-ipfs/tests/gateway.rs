//! The gateway's side, as `docs/spec/gateway.md` has it.

mod kit;

use daee_artifact::{Cid, package::single_block_car};
use daee_http::{Bytes, Client, Limits, Response, Roots, Server, http::Method};

use crate::kit::{Shelf, gateway, serve};

async fn ask(server: &Server, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
    let client = Client::new(&Roots::none()).unwrap();
    let url = format!("http://{}{path}", server.address());
    client.send(method, &url, headers, Bytes::new(), &Limits::default()).await.unwrap()
}

/// Status, and the error's code where it is one.
async fn check(server: &Server, path: &str, accept: &[(&str, &str)], status: u16, code: &str) {
    let answer = ask(server, Method::GET, path, accept).await;
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status, status, "{path} {accept:?}: {body}");
    assert!(body.contains(code), "{path} {accept:?}: {body}");
}

#[tokio::test]
async fn a_raw_block_comes_with_headers_that_let_it_be_kept_for_ever() {
    let server = gateway(&[b"hello"]).await;
    let cid = Cid::of(b"hello");
    let by_query = ask(&server, Method::GET, &format!("/ipfs/{cid}?format=raw"), &[]).await;
    let accept = [("accept", "application/vnd.ipld.raw")];
    let by_header = ask(&server, Method::GET, &format!("/ipfs/{cid}"), &accept).await;
    for answer in [by_query, by_header] {
        assert_eq!(answer.body, "hello");
        for (name, value) in [
            ("content-type", "application/vnd.ipld.raw"),
            ("content-disposition", &format!("attachment; filename=\"{cid}.bin\"")),
            ("etag", &format!("\"{cid}.raw\"")),
            ("cache-control", "public, max-age=29030400, immutable"),
            ("x-content-type-options", "nosniff"),
            ("x-ipfs-path", &format!("/ipfs/{cid}")),
            ("x-ipfs-roots", &cid.to_string()),
        ] {
            assert_eq!(answer.headers[name], value, "{name}");
        }
    }
}

#[tokio::test]
async fn a_car_holds_the_block_under_its_root() {
    let server = gateway(&[b"hello"]).await;
    let cid = Cid::of(b"hello");
    let by_query = ask(&server, Method::GET, &format!("/ipfs/{cid}?format=car"), &[]).await;
    let accept = [("accept", "text/html;q=0, application/vnd.ipld.car; version=1; order=dfs")];
    let by_header = ask(&server, Method::GET, &format!("/ipfs/{cid}"), &accept).await;
    for answer in [by_query, by_header] {
        assert_eq!(answer.body, single_block_car(&cid, b"hello"));
        assert_eq!(
            answer.headers["content-type"],
            "application/vnd.ipld.car; version=1; order=dfs; dups=n"
        );
        assert_eq!(answer.headers["etag"], format!("W/\"{cid}.car.dfs.n\""));
    }
}

#[tokio::test]
async fn a_head_says_what_a_get_would_bring_and_brings_nothing() {
    let server = gateway(&[b"hello"]).await;
    let path = format!("/ipfs/{}?format=raw", Cid::of(b"hello"));
    let answer = ask(&server, Method::HEAD, &path, &[]).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
    assert_eq!(answer.headers["content-length"], "5");
    let absent = format!("/ipfs/{}?format=raw", Cid::of(b"absent"));
    assert_eq!(ask(&server, Method::HEAD, &absent, &[]).await.status, 404);
}

#[tokio::test]
async fn who_has_it_is_told_so() {
    let server = gateway(&[b"hello"]).await;
    let cid = Cid::of(b"hello");
    let path = format!("/ipfs/{cid}?format=raw");
    for (tags, status) in [
        (format!("\"{cid}.raw\""), 304),
        (format!("\"other\", W/\"{cid}.raw\""), 304),
        (format!("\"{cid}.car\""), 200),
    ] {
        let answer = ask(&server, Method::GET, &path, &[("if-none-match", &tags)]).await;
        assert_eq!(answer.status, status, "{tags}");
        assert_eq!(answer.headers["etag"], format!("\"{cid}.raw\""));
    }
}

#[tokio::test]
async fn what_cannot_be_served_says_why() {
    let server = gateway(&[b"hello"]).await;
    let cid = Cid::of(b"hello");
    let here = format!("/ipfs/{cid}");
    check(&server, &here, &[], 400, "DAEE-I012").await;
    check(&server, &here, &[("accept", "*/*")], 400, "DAEE-I012").await;
    check(&server, &here, &[("accept", "text/html")], 406, "DAEE-I013").await;
    check(&server, &format!("{here}?format=dag-json"), &[], 406, "DAEE-I013").await;
    let second = [("accept", "application/vnd.ipld.car; version=2")];
    check(&server, &here, &second, 406, "DAEE-I013").await;
    let refused = [("accept", "application/vnd.ipld.raw;q=0")];
    check(&server, &here, &refused, 406, "DAEE-I013").await;
    check(&server, &format!("{here}?format=car&car-version=2"), &[], 400, "DAEE-I011").await;
    check(&server, &format!("{here}?format=car&dag-scope=some"), &[], 400, "DAEE-I011").await;
    check(&server, "/ipfs/hello?format=raw", &[], 400, "DAEE-I010").await;
    let absent = format!("/ipfs/{}?format=raw", Cid::of(b"absent"));
    check(&server, &absent, &[], 404, "DAEE-I014").await;
    let file = "/ipfs/bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi?format=car";
    check(&server, file, &[], 404, "DAEE-I014").await;
    check(&server, &format!("{here}/inside?format=raw"), &[], 404, "").await;
    let post = ask(&server, Method::POST, &format!("{here}?format=raw"), &[]).await;
    assert_eq!(post.status, 405);
}

#[tokio::test]
async fn the_probe_of_the_specification_is_answered() {
    let server = gateway(&[]).await;
    let answer = ask(&server, Method::GET, "/ipfs/bafkqaaa?format=raw", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
}

#[tokio::test]
async fn a_store_that_fails_is_the_nodes_fault() {
    let server = serve(Shelf { broken: true, ..Shelf::default() }).await;
    let path = format!("/ipfs/{}?format=raw", Cid::of(b"hello"));
    check(&server, &path, &[], 500, r#""fault":"node""#).await;
}
