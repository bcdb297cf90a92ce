//! The price oracle of TIP-0042: fetches the price of ETH on its schedule, keeps the last prices, publishes the
//! newest on chain, and answers requests for it.

mod price;

use daee_agent::{Answer, Code, Error, Event, Request, What, chain, http, log, now_ms, state::Key};
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};

use price::Price;

const SOURCE: &str = "https://api.coingecko.com/api/v3/simple/price?ids=ethereum&vs_currencies=usd";
const TOPIC: &str = "price-eth-usd";
/// Most prices that are kept, the newest last.
const HISTORY_MAX: usize = 60;
/// The newest last.
const HISTORY: Key<Vec<Quote>> = Key::new("history");
/// What a request for the price needs, so that it reads no more than that.
const NEWEST: Key<Newest> = Key::new("newest");

daee_agent::reactor!(turn);

/// A price and when it was fetched, in milliseconds since 1970.
#[derive(Debug, Serialize, Deserialize)]
struct Quote {
    at_ms: u64,
    price: Price,
}

#[derive(Debug, Serialize, Deserialize)]
struct Newest {
    /// How many prices are kept.
    count: usize,
    quote: Quote,
}

/// Handles one event.
pub fn turn(event: Event) -> Result<Option<Answer>, Error> {
    match event.what {
        What::Start | What::Timer { .. } => refresh()?,
        What::Http(request) => return answer(&request).map(Some),
        What::Upgraded { from_version } => {
            log::info(format!("goes on from {from_version} with {} prices", history()?.len()));
        }
        _ => {}
    }
    Ok(None)
}

/// Fetches, keeps and publishes the price. A source that fails leaves the old price with its time.
fn refresh() -> Result<(), Error> {
    let price = match fetch() {
        Ok(price) => price,
        Err(why) => {
            log::warn(format!("no new price: {why}"));
            return Ok(());
        }
    };
    let mut history = history()?;
    let at_ms = now_ms()?;
    history.push(Quote { at_ms, price });
    history.drain(..history.len().saturating_sub(HISTORY_MAX));
    HISTORY.set(&history)?;
    NEWEST.set(&Newest { count: history.len(), quote: Quote { at_ms, price } })?;
    log::info(format!("ETH/USD {price}"));
    match chain::publish(TOPIC, &price.word()) {
        // The chain takes nothing for now. Who asks here should have the price all the same.
        Err(error) if error.code() == Code::Limit => {
            log::warn(format!("not published: {error}"));
            Ok(())
        }
        done => done,
    }
}

fn fetch() -> Result<Price, String> {
    #[derive(Deserialize)]
    struct Prices<'a> {
        #[serde(borrow)]
        ethereum: Ethereum<'a>,
    }
    #[derive(Deserialize)]
    struct Ethereum<'a> {
        // As it was written: no float stands between the source and the chain.
        #[serde(borrow)]
        usd: &'a RawValue,
    }
    let fetched = http::get(SOURCE).map_err(|error| error.to_string())?;
    if !fetched.is_success() {
        return Err(format!("the source answers with status {}", fetched.status));
    }
    let prices: Prices<'_> = serde_json::from_slice(&fetched.body)
        .map_err(|error| format!("the source answers with something else: {error}"))?;
    let text = prices.ethereum.usd.get();
    text.parse().map_err(|why| format!("the source answers with {text:.40}: {why}"))
}

fn history() -> Result<Vec<Quote>, Error> {
    Ok(HISTORY.get()?.unwrap_or_default())
}

fn answer(request: &Request) -> Result<Answer, Error> {
    let known = match request.path.as_str() {
        "/price" | "/history" => true,
        "/version" => cfg!(feature = "version"),
        _ => false,
    };
    if !known {
        return Ok(
            Answer::json(&json!({"error": "there is /price and /history"}))?.with_status(404)
        );
    }
    if request.method != "GET" {
        return Ok(Answer::status(405).header("allow", "GET"));
    }
    if request.path == "/version" {
        return Answer::json(&json!({"version": "1.3.0"}));
    }
    if request.path == "/history" {
        let prices = history()?;
        return Answer::json(&json!({"pair": "ETH/USD", "source": SOURCE, "prices": prices}));
    }
    let Some(Newest { count, quote }) = NEWEST.get()? else {
        return Ok(Answer::json(&json!({"error": "there is no price yet"}))?.with_status(503));
    };
    Answer::json(&json!({
        "pair": "ETH/USD",
        "price": quote.price,
        "decimals": price::DECIMALS,
        "at_ms": quote.at_ms,
        "source": SOURCE,
        "history": count,
    }))
}

#[cfg(test)]
mod tests {
    use daee_agent::testing::{BEGIN_MS, Door, Turn};
    use serde_json::Value;

    use super::*;

    fn priced(body: &str) -> Door {
        let mut door = Door::new();
        door.serve(SOURCE, 200, body);
        door
    }

    fn get(door: &mut Door, path: &str) -> (u16, Value) {
        let answer = door.turn(What::Http(Request::get(path)), turn).answer.unwrap();
        (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
    }

    fn timer(door: &mut Door) -> Turn {
        door.turn(What::Timer { name: "schedule".into() }, turn)
    }

    #[test]
    fn the_price_is_kept_published_and_answered() {
        let mut door = priced(r#"{"ethereum":{"usd":3021.55}}"#);
        let started = door.turn(What::Start, turn);
        let mut word = [0; 32];
        word[24..].copy_from_slice(&302_155_000_000_u64.to_be_bytes());
        assert_eq!(started.published, [(TOPIC.into(), word.to_vec())]);
        let (status, body) = get(&mut door, "/price");
        assert_eq!(status, 200);
        let expected = json!({
            "pair": "ETH/USD", "price": "3021.55000000", "decimals": 8, "at_ms": BEGIN_MS,
            "source": SOURCE, "history": 1,
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn the_history_is_bounded_and_its_newest_is_last() {
        let mut door = Door::new();
        for price in 1..=70 {
            door.wait_ms(1000).serve(SOURCE, 200, format!(r#"{{"ethereum":{{"usd":{price}}}}}"#));
            timer(&mut door);
        }
        let (_, body) = get(&mut door, "/history");
        let prices = body["prices"].as_array().unwrap();
        assert_eq!(prices.len(), HISTORY_MAX);
        assert_eq!(prices[0]["price"], "11.00000000");
        assert_eq!(prices[59], json!({"price": "70.00000000", "at_ms": BEGIN_MS + 70_000}));
    }

    #[test]
    fn a_source_that_fails_is_logged_and_leaves_the_old_price_with_its_time() {
        let check = |break_it: fn(&mut Door), why: &str| {
            let mut door = priced(r#"{"ethereum":{"usd":3000}}"#);
            door.turn(What::Start, turn);
            break_it(door.wait_ms(5000));
            let turned = timer(&mut door);
            assert_eq!((turned.result, turned.published), (Ok(()), vec![]));
            assert!(turned.logs[0].1.contains(why), "{:?}", turned.logs);
            let (_, body) = get(&mut door, "/price");
            assert_eq!(body["price"], "3000.00000000");
            assert_eq!(body["at_ms"], BEGIN_MS);
        };
        check(|door| _ = door.fail(SOURCE, "connection reset"), "connection reset");
        check(|door| _ = door.serve(SOURCE, 429, ""), "status 429");
        check(|door| _ = door.serve(SOURCE, 200, "<html>"), "something else");
        check(|door| _ = door.serve(SOURCE, 200, r#"{"bitcoin":{"usd":1}}"#), "something else");
        check(|door| _ = door.serve(SOURCE, 200, r#"{"ethereum":{"usd":"3000"}}"#), "decimal");
        check(|door| _ = door.serve(SOURCE, 200, r#"{"ethereum":{"usd":-1}}"#), "decimal");
        check(|door| _ = door.serve(SOURCE, 200, r#"{"ethereum":{"usd":0}}"#), "zero");
        check(|door| _ = door.deny("http.fetch", Some("network_outbound:a.b")), "outbound:a.b");
    }

    #[test]
    fn a_chain_that_takes_nothing_keeps_no_price_from_who_asks_here() {
        let mut door = priced(r#"{"ethereum":{"usd":3000}}"#);
        door.refuse("chain.publish", Code::Limit, "too many effects wait");
        let turned = door.turn(What::Start, turn);
        assert_eq!(turned.result, Ok(()));
        assert_eq!(turned.logs[1].1, "not published: too many effects wait");
        assert_eq!(get(&mut door, "/price").1["price"], "3000.00000000");
    }

    #[test]
    fn nothing_is_published_that_the_manifest_does_not_permit() {
        let mut door = priced(r#"{"ethereum":{"usd":3000}}"#);
        let turned = door.deny("chain.publish", Some("publish_to_chain")).turn(What::Start, turn);
        assert!(turned.result.unwrap_err().contains("publish_to_chain"));
        assert_eq!(door.state("history"), None);
    }

    #[test]
    fn other_requests_are_refused() {
        let mut door = Door::new();
        assert_eq!(get(&mut door, "/price").0, 503);
        assert_eq!(get(&mut door, "/").0, 404);
        assert_eq!(get(&mut door, "/price/").0, 404);
        let post = Request { method: "POST".into(), ..Request::get("/price") };
        let answer = door.turn(What::Http(post), turn).answer.unwrap();
        assert_eq!(answer.status, 405);
    }

    #[test]
    fn only_the_next_version_tells_its_version() {
        let expected = if cfg!(feature = "version") { 200 } else { 404 };
        assert_eq!(get(&mut Door::new(), "/version").0, expected);
    }

    #[test]
    fn an_upgrade_goes_on_from_the_old_prices() {
        let mut door = priced(r#"{"ethereum":{"usd":3000}}"#);
        door.turn(What::Start, turn);
        let turned = door.turn(What::Upgraded { from_version: "1.2.0".into() }, turn);
        assert!(turned.logs[0].1.ends_with("from 1.2.0 with 1 prices"));
        assert_eq!(get(&mut door, "/price").1["price"], "3000.00000000");
    }
}
