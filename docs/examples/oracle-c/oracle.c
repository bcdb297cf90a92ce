/* The price oracle of TIP-0042 as a resident in C: fetches the price of ETH on its schedule, keeps the last
 * prices, publishes the newest on chain, and answers requests for it. It keeps the contract of ../oracle.
 *
 * All that lasts is in the state, so that a new cell on another node goes on where this one stood.
 */
#include "daee.h"

#define SOURCE "https://api.coingecko.com/api/v3/simple/price?ids=ethereum&vs_currencies=usd"
#define DECIMALS 8
/* Most digits before the point, so that a price fits into 64 bits. */
#define WHOLE_DIGITS_MAX 10
/* Most prices that are kept, the newest last. */
#define HISTORY_MAX 60

/* An exact price in units of 10^-8 of a dollar, and when it was fetched in milliseconds since 1970. */
struct quote {
    uint64_t units, at_ms;
};

struct history {
    struct quote quotes[HISTORY_MAX];
    size_t count;
};

static void add_price(struct daee_text *to, uint64_t units) {
    uint64_t unit = 1;
    for (int n = 0; n < DECIMALS; n++) unit *= 10;
    daee_add_number(to, units / unit);
    daee_add(to, ".");
    for (unit /= 10; unit; unit /= 10) daee_add_number(to, units / unit % 10);
}

static void add_quote(struct daee_text *to, struct quote quote) {
    daee_add(to, "{\"at_ms\":");
    daee_add_number(to, quote.at_ms);
    daee_add(to, ",\"price\":\"");
    add_price(to, quote.units);
    daee_add(to, "\"}");
}

static void add_quotes(struct daee_text *to, const struct history *history) {
    daee_add(to, "[");
    for (size_t n = 0; n < history->count; n++) {
        if (n) daee_add(to, ",");
        add_quote(to, history->quotes[n]);
    }
    daee_add(to, "]");
}

/* Reads a plain decimal number of `len` bytes; what stands behind the eighth decimal is cut off. Returns what is
 * wrong with it, or NULL. */
static const char *read_price(const char *text, size_t len, uint64_t *units) {
    const char *plain = "not a plain decimal number";
    const char *end = text + len;
    const char *point = memchr(text, '.', len);
    size_t whole = (point ? point : end) - text;
    if (!whole || (point && point + 1 == end)) return plain;
    for (const char *at = text; at < end; at++) {
        if (at != point && (*at < '0' || *at > '9')) return plain;
    }
    if (whole > WHOLE_DIGITS_MAX) return "too large for a price";
    *units = 0;
    for (const char *at = text; at < text + whole; at++) *units = *units * 10 + (*at - '0');
    const char *at = point ? point + 1 : end;
    for (int n = 0; n < DECIMALS; n++) *units = *units * 10 + (at < end ? *at++ - '0' : 0);
    return *units ? NULL : "a price of zero";
}

static bool read_quote(const char *json, struct quote *quote) {
    char *price = daee_json_text(json, "price");
    bool ok = price && !read_price(price, strlen(price), &quote->units) && daee_json_number(json, "at_ms", &quote->at_ms);
    free(price);
    return ok;
}

/* Logs why an operation was refused. */
static void log_refusal(const char *op, int32_t code) {
    struct daee_text line = {0};
    daee_add(&line, op);
    daee_add(&line, ": ");
    char *why = daee_json_text(daee_refusal.at, "message");
    daee_log(code == DAEE_LIMIT ? "warn" : "error", line.at, why ? why : "refused");
    free(line.at);
    free(why);
}

static bool load(struct history *history) {
    struct daee_text kept;
    int32_t code = daee_state_get("history", &kept);
    const char *item = NULL;
    size_t len;
    bool ok = !code || code == DAEE_NOT_FOUND;
    history->count = 0;
    while (!code && ok && (item = daee_json_item(kept.at, item, &len))) {
        ok = history->count < HISTORY_MAX && read_quote(item, &history->quotes[history->count++]);
    }
    if (!ok) daee_log("error", "the history in the state cannot be read", "");
    free(kept.at);
    return ok;
}

static bool save(const char *key, struct daee_text *json) {
    int32_t code = daee_state_set(key, json->at, json->len);
    if (code) log_refusal("state.set", code);
    free(json->at);
    return !code;
}

/* Fetches the price. Says in the log why there is none. */
static bool fetch(uint64_t *units) {
    struct daee_fetch request = {.url = SOURCE};
    struct daee_fetched fetched;
    char *said = NULL;
    const char *why = NULL, *ethereum, *usd;
    size_t len = 0;
    if (daee_fetch(&request, &fetched)) {
        said = daee_json_text(daee_refusal.at, "message");
        why = said ? said : "refused";
    } else if (fetched.status / 100 != 2) {
        why = "the source answers with an error";
    } else if (!daee_json_is_whole(&fetched.body)
               || !(ethereum = daee_json_field(fetched.body.at, "ethereum", &len))
               || !(usd = daee_json_field(ethereum, "usd", &len))) {
        why = "the source answers with something else";
    } else {
        why = read_price(usd, len, units);
    }
    if (why) daee_log("warn", "no new price: ", why);
    free(said);
    daee_fetched_free(&fetched);
    return !why;
}

/* Fetches, keeps and publishes the price. A source that fails leaves the old price with its time. */
static bool refresh(void) {
    struct history history;
    struct quote quote;
    if (!fetch(&quote.units)) return true;
    quote.at_ms = daee_now();
    if (!load(&history)) return false;
    if (history.count == HISTORY_MAX) {
        memmove(history.quotes, history.quotes + 1, sizeof history.quotes - sizeof quote);
        history.count--;
    }
    history.quotes[history.count++] = quote;
    struct daee_text all = {0}, newest = {0}, line = {0};
    add_quotes(&all, &history);
    /* What a request for the price needs, so that it reads no more than that. */
    daee_add(&newest, "{\"count\":");
    daee_add_number(&newest, history.count);
    daee_add(&newest, ",\"quote\":");
    add_quote(&newest, quote);
    daee_add(&newest, "}");
    bool all_saved = save("history", &all), newest_saved = save("newest", &newest);
    if (!all_saved || !newest_saved) return false;

    add_price(&line, quote.units);
    daee_log("info", "ETH/USD ", line.at);
    free(line.at);
    /* A 32-byte big-endian integer with 8 decimals: abi.decode(data, (uint256)). */
    uint8_t word[32] = {0};
    for (int n = 0; n < 8; n++) word[31 - n] = quote.units >> 8 * n;
    int32_t code = daee_publish("price-eth-usd", word, sizeof word);
    if (code) log_refusal("chain.publish", code);
    /* The chain may take nothing for now. Who asks here should have the price all the same. */
    return !code || code == DAEE_LIMIT;
}

/* Answers with JSON, which is freed. */
static bool send(struct daee_text *json) {
    bool ok = !daee_answer(200, "application/json", json->at);
    free(json->at);
    return ok;
}

static bool answer_price(void) {
    struct daee_text newest, json = {0};
    int32_t code = daee_state_get("newest", &newest);
    if (code == DAEE_NOT_FOUND) return !daee_answer(503, "application/json", "{\"error\":\"there is no price yet\"}");
    size_t len;
    uint64_t count;
    struct quote quote;
    const char *found = code ? NULL : daee_json_field(newest.at, "quote", &len);
    bool ok = found && read_quote(found, &quote) && daee_json_number(newest.at, "count", &count);
    free(newest.at);
    if (!ok) return false;
    daee_add(&json, "{\"at_ms\":");
    daee_add_number(&json, quote.at_ms);
    daee_add(&json, ",\"decimals\":8,\"history\":");
    daee_add_number(&json, count);
    daee_add(&json, ",\"pair\":\"ETH/USD\",\"price\":\"");
    add_price(&json, quote.units);
    daee_add(&json, "\",\"source\":\"" SOURCE "\"}");
    return send(&json);
}

static bool answer_history(void) {
    struct history history;
    struct daee_text json = {0};
    if (!load(&history)) return false;
    daee_add(&json, "{\"pair\":\"ETH/USD\",\"prices\":");
    add_quotes(&json, &history);
    daee_add(&json, ",\"source\":\"" SOURCE "\"}");
    return send(&json);
}

static bool answer(const char *head) {
    char *path = daee_json_text(head, "path"), *method = daee_json_text(head, "method");
    bool price = path && !strcmp(path, "/price");
    bool known = price || (path && !strcmp(path, "/history"));
    bool get = method && !strcmp(method, "GET");
    free(path);
    free(method);
    if (!known) return !daee_answer(404, "application/json", "{\"error\":\"there is /price and /history\"}");
    struct daee_header allow = {"allow", "GET"};
    if (!get) return !daee_answer_with(405, &allow, 1, "", 0);
    return price ? answer_price() : answer_history();
}

static bool turn(const struct daee_event *event) {
    if (!strcmp(event->kind, "start") || !strcmp(event->kind, "timer")) return refresh();
    return strcmp(event->kind, "http") || answer(event->head.at);
}

DAEE_RESIDENT(turn)
