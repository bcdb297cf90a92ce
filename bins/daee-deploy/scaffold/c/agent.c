/* Greets whoever asks for /, and counts how often. */
#include "daee.h"

/* Counts a visit, in the state: there it outlives this module, and this node. */
static bool count(uint64_t *visits) {
    struct daee_text kept, text = {0};
    int32_t code = daee_state_get("visits", &kept);
    *visits = code ? 1 : strtoull(kept.at, NULL, 10) + 1;
    free(kept.at);
    if (code && code != DAEE_NOT_FOUND) return false;
    daee_add_number(&text, *visits);
    code = daee_state_set("visits", text.at, text.len);
    free(text.at);
    return !code;
}

static bool greet(void) {
    uint64_t visits;
    if (!count(&visits)) return false;
    struct daee_text text = {0};
    daee_add(&text, "hello from {{name}}, visit ");
    daee_add_number(&text, visits);
    daee_log("info", text.at, "");
    daee_add(&text, "\n");
    bool ok = !daee_answer(200, "text/plain", text.at);
    free(text.at);
    return ok;
}

static bool request(const char *head) {
    char *path = daee_json_text(head, "path");
    bool known = path && !strcmp(path, "/");
    free(path);
    return known ? greet() : !daee_answer(404, "text/plain", "there is only /\n");
}

/* Handles one event. What it did is kept, or undone if it is false. */
static bool turn(const struct daee_event *event) {
    if (!strcmp(event->kind, "http")) return request(event->head.at);
    /* With `schedule` in agent.yaml. */
    if (!strcmp(event->kind, "timer")) daee_log("info", "on schedule", "");
    return true;
}

DAEE_REACTOR(turn)
