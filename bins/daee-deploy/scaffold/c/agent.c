/* Greets whoever asks for /, and counts how often. */
#include "daee.h"

/* Counts a visit, in the state: there it outlives this module, and this node. */
static bool count(uint64_t *visits) {
    struct daee_reply kept = daee("state.get", "{\"key\":\"visits\"}", "", 0);
    bool ok = kept.code >= 0 || kept.code == DAEE_NOT_FOUND;
    *visits = kept.code < 0 ? 1 : strtoull(kept.body.at, NULL, 10) + 1;
    daee_free(&kept);
    if (!ok) return false;
    struct daee_text text = {0};
    daee_add_number(&text, *visits);
    struct daee_reply set = daee("state.set", "{\"key\":\"visits\"}", text.at, text.len);
    ok = set.code >= 0;
    daee_free(&set);
    free(text.at);
    return ok;
}

static bool answer(uint16_t status, const char *body) {
    struct daee_text head = {0};
    daee_add(&head, "{\"headers\":[[\"content-type\",\"text/plain\"]],\"status\":");
    daee_add_number(&head, status);
    daee_add(&head, "}");
    struct daee_reply reply = daee("event.answer", head.at, body, strlen(body));
    bool ok = reply.code >= 0;
    daee_free(&reply);
    free(head.at);
    return ok;
}

static bool greet(void) {
    uint64_t visits;
    if (!count(&visits)) return false;
    struct daee_text text = {0};
    daee_add(&text, "hello from {{name}}, visit ");
    daee_add_number(&text, visits);
    daee_log("info", text.at, "");
    daee_add(&text, "\n");
    bool ok = answer(200, text.at);
    free(text.at);
    return ok;
}

static bool request(const char *head) {
    char *path = daee_json_text(head, "path");
    bool known = path && !strcmp(path, "/");
    free(path);
    return known ? greet() : answer(404, "there is only /\n");
}

/* Called once for each event. 0 keeps what was done; anything else undoes it. */
__attribute__((export_name("daee_turn"))) int32_t daee_turn(void) {
    struct daee_reply event = daee("event.next", "{}", "", 0);
    char *kind = event.code < 0 ? NULL : daee_json_text(event.head.at, "kind");
    bool ok = kind != NULL;
    if (ok && !strcmp(kind, "http")) ok = request(event.head.at);
    /* With `schedule` in agent.yaml. */
    if (ok && !strcmp(kind, "timer")) daee_log("info", "on schedule", "");
    free(kind);
    daee_free(&event);
    return ok ? 0 : 1;
}
