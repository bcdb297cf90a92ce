# The price oracle of TIP-0042 in Python: fetches the price of ETH on its schedule, keeps the last prices, publishes the
# newest on chain, and answers requests for it. It keeps the contract of docs/examples/oracle.
import re
from daee import Refused, Response, dumps, fetch, log, now, publish, state

SOURCE = "https://api.coingecko.com/api/v3/simple/price?ids=ethereum&vs_currencies=usd"
TOPIC = "price-eth-usd"
DECIMALS = 8
# Most digits before the point: with more it is no price of anything.
WHOLE_DIGITS_MAX = 18
# Most prices that are kept, the newest last.
HISTORY_MAX = 60
ANSWER_BYTES_MAX = 4096
PRICE = re.compile(r'"ethereum"\s*:\s*{[^{}]*"usd"\s*:\s*([0-9.]+)\s*[,}]')


def http(request):
    if request.path not in ("/price", "/history"):
        return answer({"error": "there is /price and /history"}, 404)
    if request.method != "GET":
        return Response(b"", 405, [("allow", "GET")])
    if request.path == "/history":
        return {"pair": "ETH/USD", "prices": state.get("history", []), "source": SOURCE}
    newest = state.get("newest")
    if newest is None:
        return answer({"error": "there is no price yet"}, 503)
    told = {"decimals": DECIMALS, "history": newest["count"], "pair": "ETH/USD", "source": SOURCE}
    told.update(newest["quote"])
    return told


def answer(value, status):
    return Response(dumps(value), status, [("content-type", "application/json")])


def refresh(event):
    """Fetches, keeps and publishes the price. A source that fails leaves the old price with its time."""
    try:
        units = fetch_price()
    except Exception as error:
        log("no new price: {}".format(error), "warn")
        return
    quote = {"at_ms": now(), "price": "{}.{:08d}".format(units // 10**DECIMALS, units % 10**DECIMALS)}
    history = (state.get("history", []) + [quote])[-HISTORY_MAX:]
    state.set("history", history)
    state.set("newest", {"count": len(history), "quote": quote})
    print("ETH/USD " + quote["price"])
    try:
        # What a contract reads: `abi.decode(data, (uint256))`, with 8 decimals.
        publish(TOPIC, units.to_bytes(32, "big"))
    except Refused as error:
        # The chain takes nothing for now. Who asks here should have the price all the same.
        if error.code != "limit":
            raise
        log("not published: {}".format(error), "warn")


start = timer = refresh


def fetch_price():
    fetched = fetch(SOURCE)
    if fetched.status // 100 != 2:
        raise ValueError("the source answers with status {}".format(fetched.status))
    if len(fetched.body) > ANSWER_BYTES_MAX:
        raise ValueError("the source answers with too much")
    usd = fetched.json()["ethereum"]["usd"]
    # The digits as they were written: no float stands between the source and the chain.
    found = PRICE.search(fetched.text())
    digits = found.group(1) if found else ""
    if not isinstance(usd, (int, float)) or not digits or float(digits) != usd:
        raise ValueError("not a plain decimal number")
    whole, _, part = digits.partition(".")
    if len(whole) > WHOLE_DIGITS_MAX:
        raise ValueError("too large for a price")
    # What stands behind the eighth decimal is cut off: an oracle never says more than its source did.
    units = int(whole + (part + "0" * DECIMALS)[:DECIMALS])
    if not units:
        raise ValueError("a price of zero")
    return units
