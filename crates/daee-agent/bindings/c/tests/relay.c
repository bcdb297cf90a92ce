/* Does the calls that a request's body lists, by name or by function, and answers with what each gave. */
#include "daee.h"

/* A length, and so many bytes. */
static char *part(const char **at, uint32_t *len) {
    memcpy(len, *at, 4);
    struct daee_text text = {0};
    daee_add_bytes(&text, *at + 4, *len);
    *at += 4 + *len;
    return text.at;
}

static void give(struct daee_text *out, int32_t code, const char *head, const char *body, uint32_t body_len) {
    uint32_t head_len = strlen(head);
    daee_add_bytes(out, &code, 4);
    daee_add_bytes(out, &head_len, 4);
    daee_add_bytes(out, head, head_len);
    daee_add_bytes(out, &body_len, 4);
    daee_add_bytes(out, body, body_len);
}

static struct daee_header *headers(const char *head, size_t *count) {
    static struct daee_header pairs[8];
    size_t len;
    const char *list = daee_json_field(head, "headers", &len), *pair = NULL;
    *count = 0;
    while (list && (pair = daee_json_item(list, pair, &len))) {
        const char *name = daee_json_item(pair, NULL, &len);
        pairs[*count].name = daee_json_read(name, len);
        const char *value = daee_json_item(pair, name, &len);
        pairs[(*count)++].value = daee_json_read(value, len);
    }
    return pairs;
}

static void add_flag(struct daee_text *told, const char *name, bool yes) {
    daee_add_name(told, name);
    daee_add(told, yes ? "true" : "false");
}

static void add_list(struct daee_text *told, const char *name, struct daee_text *list) {
    daee_add_name(told, name);
    daee_add(told, list->at ? list->at : "[]");
}

static void add_stat(struct daee_text *told, const struct daee_stat *stat) {
    daee_add_field(told, "kind", stat->directory ? "directory" : "file");
    daee_add_number_field(told, "size", stat->size);
    daee_add_number_field(told, "modified_ns", stat->modified_ns);
}

static int32_t by_function(const char *op, const char *head, const char *body, size_t len, struct daee_text *told,
                           struct daee_text *given) {
    uint64_t number = 0, limit = 1000, offset = 0;
    bool yes = false;
    size_t count;
    struct daee_stat stat;
    struct daee_text list;
    char *key = daee_json_text(head, "key"), *name = daee_json_text(head, "name"), *path = daee_json_text(head, "path");
    char *after = daee_json_text(head, "after"), *prefix = daee_json_text(head, "prefix");
    daee_json_number(head, "limit", &limit);
    daee_json_number(head, "offset", &offset);
    int32_t code = 0;
    if (!strcmp(op, "log")) {
        char *level = daee_json_text(head, "level");
        daee_log(level ? level : "info", daee_json_text(head, "text"), "");
    } else if (!strcmp(op, "now")) {
        daee_add_number_field(told, "ms", daee_now());
    } else if (!strcmp(op, "random")) {
        daee_json_number(head, "bytes", &number);
        char random[8192];
        code = daee_random(random, number);
        if (!code) daee_add_bytes(given, random, number);
    } else if (!strcmp(op, "event.next")) {
        struct daee_event event;
        code = daee_next(&event);
    } else if (!strcmp(op, "event.answer")) {
        uint64_t status = 200;
        daee_json_number(head, "status", &status);
        struct daee_header *pairs = headers(head, &count);
        code = daee_answer_with(status, pairs, count, body, len);
    } else if (!strcmp(op, "state.get")) {
        code = daee_state_get(key, given);
    } else if (!strcmp(op, "state.set")) {
        code = daee_state_set(key, body, len);
    } else if (!strcmp(op, "state.delete")) {
        code = daee_state_delete(key, &yes);
        add_flag(told, "existed", yes);
    } else if (!strcmp(op, "state.list")) {
        code = daee_state_list(prefix, after, limit, &list);
        add_list(told, "keys", &list);
    } else if (!strcmp(op, "state.cas")) {
        /* The vectors' hash is that of "1". */
        char digits[65];
        daee_sha256("1", 1, digits);
        bool absent = daee_json_text(head, "expect") != NULL;
        code = daee_state_swap(key, absent ? NULL : digits, body, len, &yes);
        add_flag(told, "swapped", yes);
    } else if (!strcmp(op, "timer.set")) {
        code = daee_json_number(head, "at_ms", &number)      ? daee_timer_at(name, number)
             : daee_json_number(head, "after_ms", &number) ? daee_timer_after(name, number)
                                                           : 1;
    } else if (!strcmp(op, "timer.cancel")) {
        code = daee_timer_cancel(name, &yes);
        add_flag(told, "existed", yes);
    } else if (!strcmp(op, "http.fetch")) {
        struct daee_fetch fetch = {
            .url = daee_json_text(head, "url"),
            .method = daee_json_text(head, "method"),
            .body = body,
            .body_len = len,
        };
        fetch.headers = headers(head, &fetch.header_count);
        daee_json_number(head, "timeout_ms", &fetch.timeout_ms);
        struct daee_fetched fetched;
        code = daee_fetch(&fetch, &fetched);
        if (!code) {
            struct daee_header kind = {"content-type", daee_header(fetched.head.at, "content-type")};
            daee_add_headers(told, &kind, 1);
            daee_add_number_field(told, "status", fetched.status);
            *given = fetched.body;
        }
    } else if (!strcmp(op, "ipfs.read")) {
        number = 1 << 20;
        daee_json_number(head, "max_bytes", &number);
        code = daee_ipfs_read(daee_json_text(head, "cid"), number, given);
    } else if (!strcmp(op, "chain.publish")) {
        code = daee_publish(daee_json_text(head, "topic"), body, len);
    } else if (!strcmp(op, "file.read")) {
        number = 4 << 20;
        daee_json_number(head, "bytes", &number);
        code = daee_file_read(path, offset, number, given);
    } else if (!strcmp(op, "file.write")) {
        code = daee_json_text(head, "offset")                ? daee_file_append(path, body, len)
             : daee_json_number(head, "offset", &offset) ? daee_file_write_at(path, offset, body, len)
                                                         : daee_file_write(path, body, len);
    } else if (!strcmp(op, "file.truncate")) {
        daee_json_number(head, "size", &number);
        code = daee_file_truncate(path, number);
    } else if (!strcmp(op, "file.stat")) {
        code = daee_file_stat(path, &stat);
        add_stat(told, &stat);
    } else if (!strcmp(op, "file.create")) {
        code = daee_file_create(path, daee_json_true(head, "new"), &stat);
        add_stat(told, &stat);
    } else if (!strcmp(op, "file.mkdir")) {
        code = daee_file_mkdir(path, &stat);
        add_stat(told, &stat);
    } else if (!strcmp(op, "file.list")) {
        code = daee_file_list(path, after, limit, &list);
        add_list(told, "entries", &list);
    } else if (!strcmp(op, "file.remove")) {
        code = daee_file_remove(path);
    } else if (!strcmp(op, "file.rename")) {
        code = daee_file_rename(path, daee_json_text(head, "to"));
    } else if (!strcmp(op, "file.touch")) {
        number = DAEE_NOW;
        daee_json_number(head, "modified_ns", &number);
        code = daee_file_touch(path, number);
    } else {
        code = 1;
    }
    return code;
}

static bool turn(const struct daee_event *event) {
    struct daee_text out = {0};
    daee_add(&out, "");
    for (const char *at = event->body.at; at < event->body.at + event->body.len;) {
        uint32_t op_len, head_len, body_len;
        bool typed = *at++;
        char *op = part(&at, &op_len), *head = part(&at, &head_len), *body = part(&at, &body_len);
        if (!typed) {
            struct daee_reply reply = daee(op, head, body, body_len);
            give(&out, reply.code, reply.head.at, reply.body.at, reply.body.len);
            daee_free(&reply);
            continue;
        }
        struct daee_text told = {0}, given = {0};
        int32_t code = by_function(op, head, body, body_len, &told, &given);
        daee_add(&told, told.len ? "}" : "{}");
        give(&out, code, code < 0 ? daee_refusal.at : told.at, given.at, given.len);
    }
    daee_answer_with(200, NULL, 0, out.at, out.len);
    return true;
}

DAEE_REACTOR(turn)
