// The price oracle of TIP-0042 in JavaScript: fetches the price of ETH on its schedule, keeps the last prices, publishes
// the newest on chain, and answers requests for it. It keeps the contract of docs/examples/oracle.
import { now, publish, state } from "daee";

const SOURCE = "https://api.coingecko.com/api/v3/simple/price?ids=ethereum&vs_currencies=usd";
const TOPIC = "price-eth-usd";
const DECIMALS = 8;
// Most digits before the point: with more it is no price of anything.
const WHOLE_DIGITS_MAX = 18;
// Most prices that are kept, the newest last.
const HISTORY_MAX = 60;

export const start = refresh;
export const timer = refresh;

export function http({ path, method }) {
  if (path !== "/price" && path !== "/history") {
    return Response.json({ error: "there is /price and /history" }, { status: 404 });
  }
  if (method !== "GET") return new Response(new Uint8Array(), { status: 405, headers: { allow: "GET" } });
  const prices = state.get("history") ?? [];
  if (path === "/history") return { pair: "ETH/USD", prices, source: SOURCE };
  const newest = state.get("newest");
  if (!newest) return Response.json({ error: "there is no price yet" }, { status: 503 });
  const { count, quote: { at_ms, price } } = newest;
  return { at_ms, decimals: DECIMALS, history: count, pair: "ETH/USD", price, source: SOURCE };
}

/** Fetches, keeps and publishes the price. A source that fails leaves the old price with its time. */
function refresh() {
  let units;
  try {
    units = fetchPrice();
  } catch (error) {
    console.warn(`no new price: ${error.message}`);
    return;
  }
  const quote = { at_ms: now(), price: shown(units) };
  const history = [...(state.get("history") ?? []), quote].slice(-HISTORY_MAX);
  state.set("history", history);
  state.set("newest", { count: history.length, quote });
  console.log(`ETH/USD ${quote.price}`);
  try {
    publish(TOPIC, word(units));
  } catch (error) {
    // The chain takes nothing for now. Who asks here should have the price all the same.
    if (error.code !== "limit") throw error;
    console.warn(`not published: ${error.message}`);
  }
}

/** A number as it was written: no float stands between the source and the chain. */
class Digits {
  constructor(text) {
    this.text = text;
  }
}

function fetchPrice() {
  const answer = fetch(SOURCE);
  if (!answer.ok) throw new Error(`the source answers with status ${answer.status}`);
  const kept = (name, value, { source }) => (typeof value === "number" ? new Digits(source) : value);
  const usd = JSON.parse(answer.text(), kept).ethereum?.usd;
  if (!(usd instanceof Digits)) throw new Error("the source answers with something else");
  const [all, whole, part = ""] = /^(\d+)(?:\.(\d+))?$/.exec(usd.text) ?? [];
  if (!all) throw new Error("not a plain decimal number");
  if (whole.length > WHOLE_DIGITS_MAX) throw new Error("too large for a price");
  // What stands behind the eighth decimal is cut off: an oracle never says more than its source did.
  const units = BigInt(whole + part.slice(0, DECIMALS).padEnd(DECIMALS, "0"));
  if (!units) throw new Error("a price of zero");
  return units;
}

function shown(units) {
  const digits = String(units).padStart(DECIMALS + 1, "0");
  return `${digits.slice(0, -DECIMALS)}.${digits.slice(-DECIMALS)}`;
}

/** What a contract reads: `abi.decode(data, (uint256))`, with 8 decimals. */
function word(units) {
  return Uint8Array.from({ length: 32 }, (_, at) => Number((units >> BigInt(8 * (31 - at))) & 255n));
}
