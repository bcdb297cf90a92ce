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

/* History is kept as the 16 bytes of each quote. */
static bool load(struct history *history) {
    struct daee_reply reply = daee("state.get", "{\"key\":\"history\"}", "", 0);
    size_t bytes = reply.code < 0 ? 0 : reply.body.len;
    bool read = reply.code >= 0 || reply.code == DAEE_NOT_FOUND;
    bool whole = read && bytes <= sizeof history->quotes && bytes % sizeof(struct quote) == 0;
    history->count = whole ? bytes / sizeof(struct quote) : 0;
    if (whole && bytes) memcpy(history->quotes, reply.body.at, bytes);
    if (!whole) daee_log("error", "the history in the state cannot be read", "");
    daee_free(&reply);
    return whole;
}

/* Does what has no answer, and logs why it was refused. Returns 0 or the negative code. */
static int32_t refused(const char *op, const char *head, const void *body, size_t body_len) {
    struct daee_reply reply = daee(op, head, body, body_len);
    int32_t code = reply.code < 0 ? reply.code : 0;
    if (code) {
        struct daee_text line = {0};
        daee_add(&line, op);
        daee_add(&line, ": ");
        char *why = daee_json_text(reply.head.at, "message");
        daee_log(code == DAEE_LIMIT ? "warn" : "error", line.at, why ? why : "refused");
        free(why);
        free(line.at);
    }
    daee_free(&reply);
    return code;
}

/* Fetches the price. Says in the log why there is none. */
static bool fetch(uint64_t *units) {
    struct daee_reply reply = daee("http.fetch", "{\"url\":\"" SOURCE "\"}", "", 0);
    const char *why = NULL;
    char *said = NULL;
    uint64_t status = 0;
    size_t len = 0;
    const char *ethereum, *usd;
    if (reply.code < 0) {
        said = daee_json_text(reply.head.at, "message");
        why = said ? said : "refused";
    } else if (!daee_json_number(reply.head.at, "status", &status) || status / 100 != 2) {
        why = "the source answers with an error";
    } else if (!(ethereum = daee_json_field(reply.body.at, "ethereum", &len))
               || !(usd = daee_json_field(ethereum, "usd", &len))) {
        why = "the source answers with something else";
    } else {
        why = read_price(usd, len, units);
    }
    if (why) daee_log("warn", "no new price: ", why);
    free(said);
    daee_free(&reply);
    return !why;
}

static bool now(uint64_t *ms) {
    struct daee_reply reply = daee("now", "{}", "", 0);
    bool ok = reply.code >= 0 && daee_json_number(reply.head.at, "ms", ms);
    daee_free(&reply);
    return ok;
}

/* Fetches, keeps and publishes the price. A source that fails leaves the old price with its time. */
static bool refresh(void) {
    struct history history;
    struct quote quote;
    if (!fetch(&quote.units)) return true;
    if (!now(&quote.at_ms) || !load(&history)) return false;
    if (history.count == HISTORY_MAX) {
        memmove(history.quotes, history.quotes + 1, sizeof history.quotes - sizeof quote);
        history.count--;
    }
    history.quotes[history.count++] = quote;
    size_t bytes = history.count * sizeof quote;
    if (refused("state.set", "{\"key\":\"history\"}", history.quotes, bytes)) return false;

    /* A 32-byte big-endian integer with 8 decimals: abi.decode(data, (uint256)). */
    uint8_t word[32] = {0};
    for (int n = 0; n < 8; n++) word[31 - n] = quote.units >> 8 * n;
    struct daee_text line = {0};
    add_price(&line, quote.units);
    daee_log("info", "ETH/USD ", line.at);
    free(line.at);
    int32_t code = refused("chain.publish", "{\"topic\":\"price-eth-usd\"}", word, sizeof word);
    /* The chain may take nothing for now. Who asks here should have the price all the same. */
    return !code || code == DAEE_LIMIT;
}

static bool send_json(const char *status, const char *json) {
    struct daee_text head = {0};
    daee_add(&head, "{\"headers\":[[\"content-type\",\"application/json\"]],\"status\":");
    daee_add(&head, status);
    daee_add(&head, "}");
    bool ok = !refused("event.answer", head.at, json, strlen(json));
    free(head.at);
    return ok;
}

static bool answer_price(const struct history *history) {
    if (!history->count) return send_json("503", "{\"error\":\"there is no price yet\"}");
    struct quote newest = history->quotes[history->count - 1];
    struct daee_text json = {0};
    daee_add(&json, "{\"pair\":\"ETH/USD\",\"price\":\"");
    add_price(&json, newest.units);
    daee_add(&json, "\",\"decimals\":8,\"at_ms\":");
    daee_add_number(&json, newest.at_ms);
    daee_add(&json, ",\"source\":\"" SOURCE "\",\"history\":");
    daee_add_number(&json, history->count);
    daee_add(&json, "}");
    bool ok = send_json("200", json.at);
    free(json.at);
    return ok;
}

static bool answer_history(const struct history *history) {
    struct daee_text json = {0};
    daee_add(&json, "{\"pair\":\"ETH/USD\",\"source\":\"" SOURCE "\",\"prices\":[");
    for (size_t n = 0; n < history->count; n++) {
        daee_add(&json, n ? ",{\"price\":\"" : "{\"price\":\"");
        add_price(&json, history->quotes[n].units);
        daee_add(&json, "\",\"at_ms\":");
        daee_add_number(&json, history->quotes[n].at_ms);
        daee_add(&json, "}");
    }
    daee_add(&json, "]}");
    bool ok = send_json("200", json.at);
    free(json.at);
    return ok;
}

static bool answer(const char *head) {
    struct history history;
    char *path = daee_json_text(head, "path"), *method = daee_json_text(head, "method");
    bool price = path && !strcmp(path, "/price");
    bool known = price || (path && !strcmp(path, "/history"));
    bool get = method && !strcmp(method, "GET");
    free(path);
    free(method);
    if (!known) return send_json("404", "{\"error\":\"there is /price and /history\"}");
    if (!get) return !refused("event.answer", "{\"status\":405,\"headers\":[[\"allow\",\"GET\"]]}", "", 0);
    if (!load(&history)) return false;
    return price ? answer_price(&history) : answer_history(&history);
}

static bool turn(const char *head) {
    char *kind = daee_json_text(head, "kind");
    if (!kind) return false;
    bool ok = true;
    if (!strcmp(kind, "start") || !strcmp(kind, "timer")) ok = refresh();
    else if (!strcmp(kind, "http")) ok = answer(head);
    free(kind);
    return ok;
}

/* Asking for the next event ends the turn before. To leave with an error rolls it back, and the next event starts
 * the program afresh. */
int main(void) {
    for (;;) {
        struct daee_reply event = daee("event.next", "{}", "", 0);
        bool ok = event.code >= 0 && turn(event.head.at);
        daee_free(&event);
        if (!ok) return 1;
    }
}
