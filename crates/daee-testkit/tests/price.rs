//! The kit's servers do what they say, for better and worse.

use std::time::Duration;

use daee_http::{ClientTls, Limits, Response, Roots, exchange_on, http};
use daee_testkit::{BadGateway, Badness, Behaviour, PriceServer, closed_port};
use daee_types::Coded as _;

async fn ask(server: &PriceServer, roots: Roots, name: &str) -> Result<Response, &'static str> {
    let tls = ClientTls::new(&roots).unwrap();
    let request = http::Request::get("/api/v3/simple/price?ids=ethereum&vs_currencies=usd")
        .header("host", name)
        .body(Default::default())
        .unwrap();
    let limits = Limits { total_time: Duration::from_millis(500), ..Limits::default() };
    let answer = exchange_on(&[server.address()], Some((&tls, name)), request, &limits).await;
    answer.map_err(|error| error.code())
}

async fn check(behaviour: Behaviour, expected: Result<(u16, &str), &str>) {
    let server = PriceServer::start(&["api.example"]).await;
    server.set_price("3120.55");
    server.behave(behaviour);
    let roots = Roots::none().and_pem(server.ca_pem().as_bytes());
    let answer = ask(&server, roots, "api.example").await;
    let shown = answer.map(|answer| {
        let body = String::from_utf8(answer.body.to_vec()).unwrap();
        (answer.status.as_u16(), body)
    });
    assert_eq!(shown, expected.map(|(status, body)| (status, body.to_owned())));
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_server_of_prices_is_honest_or_what_it_is_told_to_be() {
    check(Behaviour::Honest, Ok((200, r#"{"ethereum":{"usd":3120.55}}"#))).await;
    check(Behaviour::Lie("{}".to_owned()), Ok((200, "{}"))).await;
    check(Behaviour::Redirect("https://other.example/".to_owned()), Ok((307, ""))).await;
    check(Behaviour::Stall, Err("DAEE-H015")).await;
}

#[tokio::test]
async fn only_who_trusts_its_authority_speaks_with_it() {
    let server = PriceServer::start(&["api.example"]).await;
    let trusting = || Roots::none().and_pem(server.ca_pem().as_bytes());
    assert_eq!(ask(&server, Roots::none(), "api.example").await.unwrap_err(), "DAEE-H014");
    assert_eq!(ask(&server, trusting(), "other.example").await.unwrap_err(), "DAEE-H014");
    assert!(ask(&server, trusting(), "api.example").await.is_ok());
}

#[tokio::test]
async fn a_bad_gateway_is_bad_and_a_closed_port_is_closed() {
    let client = daee_http::Client::new(&Roots::none()).unwrap();
    let limits = Limits { total_time: Duration::from_millis(500), ..Limits::default() };
    let get = async |base: String| client.get(&format!("{base}/ipfs/x"), &limits).await;
    let liar = BadGateway::start(Badness::Lies).await;
    assert_eq!(get(liar.url()).await.unwrap().status, 200);
    let slow = BadGateway::start(Badness::Stalls).await;
    assert_eq!(get(slow.url()).await.unwrap_err().code(), "DAEE-H015");
    let down = format!("http://{}", closed_port().await);
    assert_eq!(get(down).await.unwrap_err().code(), "DAEE-H013");
}
