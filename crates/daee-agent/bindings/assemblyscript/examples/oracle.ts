// The price oracle of TIP-0042 in AssemblyScript: fetches the price of ETH on its schedule, keeps the last prices,
// publishes the newest on chain, and answers requests for it. It keeps the contract of docs/examples/oracle.
import {
  Head, Json, Kind, LIMIT, NOT_FOUND, Reply, answer, answerWith, bytes, fetch, log, next, now, publish, state,
} from "./daee";

const SOURCE = "https://api.coingecko.com/api/v3/simple/price?ids=ethereum&vs_currencies=usd";
const TOPIC = "price-eth-usd";
const DECIMALS = 8;
// Most digits before the point, so that a price fits into 64 bits.
const WHOLE_DIGITS_MAX = 10;
// Most prices that are kept, the newest last.
const HISTORY_MAX = 60;

/** Called once for each event. 0 keeps what was done; anything else undoes it. */
export function daee_turn(): i32 {
  const event = next(), kind = event.string("kind");
  if (kind == "start" || kind == "timer") refresh();
  if (kind == "http") request(event);
  return 0;
}

/** Fetches, keeps and publishes the price. A source that fails leaves the old price with its time. */
function refresh(): void {
  const price = new Price(fetch(SOURCE));
  if (price.why.length) {
    log("warn", "no new price: " + price.why);
    return;
  }
  const quote = new Head().number("at_ms", now()).string("price", price.shown()).end();
  let quotes = load("history", "[]").items.map<string>((kept) => quoteOf(kept));
  quotes.push(quote);
  quotes = quotes.slice(-HISTORY_MAX);
  state.set("history", bytes("[" + quotes.join(",") + "]")).must();
  state.set("newest", bytes(new Head().number("count", quotes.length).raw("quote", quote).end())).must();
  log("info", "ETH/USD " + price.shown());
  const published = publish(TOPIC, price.word());
  // The chain takes nothing for now. Who asks here should have the price all the same.
  if (published.code == LIMIT) log("warn", "not published: " + published.why);
  else published.must();
}

/** An exact price, in units of 10^-8 of a dollar, or why there is none. */
class Price {
  units: u64 = 0;
  why: string = "";

  constructor(fetched: Reply) {
    const status = fetched.number("status");
    if (fetched.refused) this.why = fetched.why;
    else if (status / 100 != 2) this.why = `the source answers with status ${status}`;
    else {
      // As it was written: no float stands between the source and the chain.
      const usd = Json.parse(fetched.text()).get("ethereum").get("usd");
      if (usd.kind != Kind.Number) this.why = "the source answers with something else";
      else this.read(usd.text);
    }
  }

  /** A plain decimal number. What stands behind the eighth decimal is cut off: an oracle never says more than its source. */
  private read(text: string): void {
    const parts = text.split("."), part = parts.length > 1 ? parts[1] : "0";
    if (parts.length > 2 || !isDigits(parts[0]) || !isDigits(part)) this.why = "not a plain decimal number";
    else if (parts[0].length > WHOLE_DIGITS_MAX) this.why = "too large for a price";
    else this.units = U64.parseInt(parts[0] + part.padEnd(DECIMALS, "0").substring(0, DECIMALS));
    if (!this.why.length && !this.units) this.why = "a price of zero";
  }

  shown(): string {
    const digits = this.units.toString().padStart(DECIMALS + 1, "0");
    return digits.slice(0, -DECIMALS) + "." + digits.slice(-DECIMALS);
  }

  /** What a contract reads: `abi.decode(data, (uint256))`, with 8 decimals. */
  word(): ArrayBuffer {
    const word = new ArrayBuffer(32);
    store<u64>(changetype<usize>(word) + 24, bswap<u64>(this.units));
    return word;
  }
}

function isDigits(text: string): bool {
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) < 0x30 || text.charCodeAt(i) > 0x39) return false;
  }
  return text.length > 0;
}

/** JSON of the state, or this where there is none. */
function load(key: string, otherwise: string): Json {
  const kept = state.get(key);
  const json = Json.parse(kept.code == NOT_FOUND ? otherwise : kept.must().text());
  if (json.kind == Kind.None) throw new Error("what is kept under " + key + " cannot be read");
  return json;
}

function quoteOf(kept: Json): string {
  return new Head().raw("at_ms", kept.get("at_ms").text).string("price", kept.get("price").text).end();
}

function send(status: i32, head: Head): void {
  answer(status, "application/json", head.end()).must();
}

function request(event: Reply): void {
  const path = event.string("path");
  if (path != "/price" && path != "/history") {
    send(404, new Head().string("error", "there is /price and /history"));
  } else if (event.string("method") != "GET") {
    answerWith(405, [["allow", "GET"]], new ArrayBuffer(0)).must();
  } else if (path == "/history") {
    const prices = load("history", "[]").items.map<string>((kept) => quoteOf(kept));
    send(200, new Head().string("pair", "ETH/USD").raw("prices", "[" + prices.join(",") + "]").string("source", SOURCE));
  } else {
    const newest = load("newest", "null"), quote = newest.get("quote");
    if (quote.kind == Kind.None) {
      send(503, new Head().string("error", "there is no price yet"));
      return;
    }
    const head = new Head().raw("at_ms", quote.get("at_ms").text).number("decimals", DECIMALS);
    head.raw("history", newest.get("count").text).string("pair", "ETH/USD");
    send(200, head.string("price", quote.get("price").text).string("source", SOURCE));
  }
}
