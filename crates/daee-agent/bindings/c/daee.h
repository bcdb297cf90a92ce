/* daee.h: the guest's side of the door in C. Two imports, frames, as much JSON as frames need, and a function for
 * each operation.
 *
 * A frame is a 32-bit little-endian length of the head, the head (a JSON object), and the body (bytes).
 * Running out of memory is a trap, and a trap rolls the turn back.
 */
#ifndef DAEE_H
#define DAEE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

__attribute__((import_module("daee"), import_name("call"))) int32_t
daee_import_call(const char *op, size_t op_len, const void *in, size_t in_len);
__attribute__((import_module("daee"), import_name("read"))) int32_t
daee_import_read(void *out, size_t cap);

/* Codes of refusals. */
enum {
    DAEE_DENIED = -1,
    DAEE_UNKNOWN = -2,
    DAEE_MALFORMED = -3,
    DAEE_LIMIT = -4,
    DAEE_NOT_FOUND = -5,
    DAEE_OUTSIDE = -6,
    DAEE_NOT_NOW = -7,
    DAEE_CONFLICT = -8,
};

/* Text that grows. */
struct daee_text {
    char *at;
    size_t len, cap;
};

static void daee_add_bytes(struct daee_text *to, const void *bytes, size_t len) {
    if (to->cap - to->len <= len) {
        size_t cap = (to->len + len + 1) * 2;
        char *at = realloc(to->at, cap);
        if (!at) abort();
        to->at = at;
        to->cap = cap;
    }
    if (len) memcpy(to->at + to->len, bytes, len);
    to->len += len;
    to->at[to->len] = 0;
}

static void daee_add(struct daee_text *to, const char *text) {
    daee_add_bytes(to, text, strlen(text));
}

static void daee_add_number(struct daee_text *to, uint64_t number) {
    char digits[20];
    size_t at = sizeof digits;
    do digits[--at] = '0' + number % 10;
    while (number /= 10);
    daee_add_bytes(to, digits + at, sizeof digits - at);
}

/* Adds text as a JSON string. */
static void daee_add_quoted(struct daee_text *to, const char *text) {
    daee_add(to, "\"");
    for (; *text; text++) {
        unsigned char c = *text;
        if (c == '"' || c == '\\') {
            char escaped[2] = {'\\', c};
            daee_add_bytes(to, escaped, 2);
        } else if (c < 0x20) {
            char escaped[6] = {'\\', 'u', '0', '0', '0' + (c >> 4), "0123456789abcdef"[c & 15]};
            daee_add_bytes(to, escaped, 6);
        } else {
            daee_add_bytes(to, &c, 1);
        }
    }
    daee_add(to, "\"");
}

/* What an operation gave. With a negative code it was refused, and the head says why. */
struct daee_reply {
    int32_t code;
    struct daee_text head, body;
};

static void daee_free(struct daee_reply *reply) {
    free(reply->head.at);
    free(reply->body.at);
    memset(reply, 0, sizeof *reply);
}

static struct daee_reply daee(const char *op, const char *head, const void *body, size_t body_len) {
    struct daee_text frame = {0};
    uint32_t head_len = strlen(head);
    daee_add_bytes(&frame, &head_len, 4);
    daee_add(&frame, head);
    daee_add_bytes(&frame, body, body_len);
    struct daee_reply reply = {0};
    reply.code = daee_import_call(op, strlen(op), frame.at, frame.len);
    free(frame.at);
    /* A refusal does not say how long its reason is; a read of nothing does. */
    int32_t len = reply.code < 0 ? daee_import_read(NULL, 0) : reply.code;
    char *answer = malloc(len > 0 ? len : 1);
    if (!answer) abort();
    daee_import_read(answer, len);
    if (len >= 4) {
        memcpy(&head_len, answer, 4);
        if (head_len > (uint32_t)len - 4) abort();
        daee_add_bytes(&reply.head, answer + 4, head_len);
        daee_add_bytes(&reply.body, answer + 4 + head_len, len - 4 - head_len);
    } else {
        daee_add(&reply.head, "{}");
        daee_add(&reply.body, "");
    }
    free(answer);
    return reply;
}

static const char *daee_json_space(const char *json) {
    while (*json == ' ' || *json == '\t' || *json == '\n' || *json == '\r') json++;
    return json;
}

/* Behind the string that begins here, or NULL. */
static const char *daee_json_string_end(const char *json) {
    for (json++; *json != '"'; json++) {
        if (!*json || (*json == '\\' && !*++json)) return NULL;
    }
    return json + 1;
}

/* Behind the value that begins here, or NULL. */
static const char *daee_json_value_end(const char *json) {
    int depth = 0;
    do {
        json = daee_json_space(json);
        switch (*json) {
        case 0: return NULL;
        case '"':
            json = daee_json_string_end(json);
            if (!json) return NULL;
            break;
        case '{': case '[': depth++; json++; break;
        case '}': case ']': if (--depth < 0) return NULL; json++; break;
        case ',': case ':': if (!depth) return NULL; json++; break;
        default: json += strcspn(json, " \t\n\r\"{}[],:");
        }
    } while (depth);
    return json;
}

/* Whether it is one value of JSON and nothing else. */
static bool daee_json_is_whole(const struct daee_text *json) {
    const char *end = daee_json_value_end(json->at);
    return end && end != json->at && daee_json_space(end) == json->at + json->len;
}

static int daee_json_hex(const char *json) {
    int code = 0;
    for (int n = 0; n < 4; n++) {
        char c = json[n];
        int digit = c >= '0' && c <= '9' ? c - '0'
                  : c >= 'a' && c <= 'f' ? c - 'a' + 10
                  : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0) return -1;
        code = code << 4 | digit;
    }
    return code;
}

/* Adds the text of a JSON string without its escapes. Surrogates, and a NUL that C would end at, become '?'. */
static bool daee_json_unescape(struct daee_text *to, const char *json, const char *end) {
    for (json++, end--; json < end; json++) {
        if (*json != '\\') {
            daee_add_bytes(to, json, 1);
            continue;
        }
        char c = *++json;
        switch (c) {
        case 'b': c = '\b'; break;
        case 'f': c = '\f'; break;
        case 'n': c = '\n'; break;
        case 'r': c = '\r'; break;
        case 't': c = '\t'; break;
        case '"': case '\\': case '/': break;
        case 'u': {
            int code = daee_json_hex(json + 1);
            if (code < 0) return false;
            json += 4;
            if (!code || (code >= 0xd800 && code < 0xe000)) code = '?';
            char utf8[3] = {0xe0 | code >> 12, 0x80 | (code >> 6 & 63), 0x80 | (code & 63)};
            if (code >= 0x800) {
                daee_add_bytes(to, utf8, 3);
                continue;
            }
            if (code >= 0x80) {
                utf8[1] = 0xc0 | code >> 6;
                daee_add_bytes(to, utf8 + 1, 2);
                continue;
            }
            c = code;
            break;
        }
        default: return false;
        }
        daee_add_bytes(to, &c, 1);
    }
    return true;
}

/* The value of a field of a JSON object, as it is written; `len` takes its length. NULL if there is none. */
static const char *daee_json_field(const char *json, const char *key, size_t *len) {
    json = daee_json_space(json);
    if (*json++ != '{') return NULL;
    size_t key_len = strlen(key);
    for (;;) {
        json = daee_json_space(json);
        if (*json != '"') return NULL;
        const char *name = json + 1;
        json = daee_json_string_end(json);
        if (!json) return NULL;
        bool found = (size_t)(json - 1 - name) == key_len && !memcmp(name, key, key_len);
        json = daee_json_space(json);
        if (*json++ != ':') return NULL;
        const char *value = daee_json_space(json);
        json = daee_json_value_end(value);
        if (!json || json == value) return NULL;
        if (found) {
            *len = json - value;
            return value;
        }
        json = daee_json_space(json);
        if (*json++ != ',') return NULL;
    }
}

/* The item of a JSON array behind `item`, or the first if that is NULL, as it is written. NULL behind the last. */
static const char *daee_json_item(const char *array, const char *item, size_t *len) {
    if (item) {
        item = daee_json_value_end(item);
        item = item ? daee_json_space(item) : "";
        if (*item != ',') return NULL;
    } else {
        item = daee_json_space(array);
        if (*item != '[') return NULL;
    }
    item = daee_json_space(item + 1);
    const char *end = *item == ']' ? NULL : daee_json_value_end(item);
    if (!end || end == item) return NULL;
    *len = end - item;
    return item;
}

/* The text of a JSON string as it is written, to be freed, or NULL. */
static char *daee_json_read(const char *value, size_t len) {
    struct daee_text text = {0};
    daee_add(&text, "");
    if (value && *value == '"' && daee_json_unescape(&text, value, value + len)) return text.at;
    free(text.at);
    return NULL;
}

/* The text of a field, to be freed, or NULL if it is no string. */
static char *daee_json_text(const char *json, const char *key) {
    size_t len = 0;
    const char *value = daee_json_field(json, key, &len);
    return daee_json_read(value, len);
}

/* A field that is a whole number from zero up. */
static bool daee_json_number(const char *json, const char *key, uint64_t *number) {
    size_t len;
    const char *value = daee_json_field(json, key, &len);
    if (!value || !len || len > 19) return false;
    for (*number = 0; len; len--, value++) {
        if (*value < '0' || *value > '9') return false;
        *number = *number * 10 + (*value - '0');
    }
    return true;
}

static bool daee_json_true(const char *json, const char *key) {
    size_t len;
    const char *value = daee_json_field(json, key, &len);
    return value && len == 4 && !memcmp(value, "true", 4);
}

/* The value of the first header of this name in lower case, to be freed, or NULL. `head` is that of a request or of
 * what was fetched. */
static char *daee_header(const char *head, const char *name) {
    size_t len;
    const char *headers = daee_json_field(head, "headers", &len), *pair = NULL;
    while (headers && (pair = daee_json_item(headers, pair, &len))) {
        const char *item = daee_json_item(pair, NULL, &len);
        char *known = daee_json_read(item, len);
        if (!known) continue;
        for (char *c = known; *c; c++) *c += *c >= 'A' && *c <= 'Z' ? 32 : 0;
        bool found = !strcmp(known, name);
        free(known);
        if (found && (item = daee_json_item(pair, item, &len))) return daee_json_read(item, len);
    }
    return NULL;
}

/* The head of an operation's input, field by field. */
static void daee_add_name(struct daee_text *head, const char *name) {
    daee_add(head, head->len ? "," : "{");
    daee_add_quoted(head, name);
    daee_add(head, ":");
}

/* A text, or nothing if it is NULL. */
static void daee_add_field(struct daee_text *head, const char *name, const char *text) {
    if (!text) return;
    daee_add_name(head, name);
    daee_add_quoted(head, text);
}

static void daee_add_number_field(struct daee_text *head, const char *name, uint64_t number) {
    daee_add_name(head, name);
    daee_add_number(head, number);
}

/* The head of the last refusal, with its `code`, `message` and, of what the manifest would have to permit, `needs`. */
static struct daee_text daee_refusal;

/* Does an operation with a head of fields, which is freed. What it gave has to be freed, unless it was refused. */
static struct daee_reply daee_do(const char *op, struct daee_text *head, const void *body, size_t body_len) {
    daee_add(head, head->len ? "}" : "{}");
    struct daee_reply reply = daee(op, head->at, body, body_len);
    free(head->at);
    if (reply.code < 0) {
        free(daee_refusal.at);
        daee_refusal = reply.head;
        free(reply.body.at);
        memset(&reply.head, 0, sizeof reply.head);
        memset(&reply.body, 0, sizeof reply.body);
    }
    return reply;
}

/* Frees what an operation gave. 0, or the code of the refusal. */
static int32_t daee_end(struct daee_reply *reply) {
    int32_t code = reply->code < 0 ? reply->code : 0;
    daee_free(reply);
    return code;
}

/* The same where only the code matters. */
static int32_t daee_done(const char *op, struct daee_text *head, const void *body, size_t body_len) {
    struct daee_reply reply = daee_do(op, head, body, body_len);
    return daee_end(&reply);
}

/* The same where the answer says yes or no. */
static int32_t daee_told(const char *op, struct daee_text *head, const void *body, size_t body_len, const char *name,
                         bool *yes) {
    struct daee_reply reply = daee_do(op, head, body, body_len);
    *yes = reply.code >= 0 && daee_json_true(reply.head.at, name);
    return daee_end(&reply);
}

/* The same where the answer is a body, which has to be freed. */
static int32_t daee_given(const char *op, struct daee_text *head, struct daee_text *body) {
    struct daee_reply reply = daee_do(op, head, "", 0);
    *body = reply.body;
    free(reply.head.at);
    return reply.code < 0 ? reply.code : 0;
}

/* The same where the answer is a JSON array, which has to be freed. */
static int32_t daee_listed(const char *op, struct daee_text *head, const char *name, struct daee_text *list) {
    struct daee_reply reply = daee_do(op, head, "", 0);
    memset(list, 0, sizeof *list);
    size_t len;
    const char *found = reply.code < 0 ? NULL : daee_json_field(reply.head.at, name, &len);
    if (found) daee_add_bytes(list, found, len);
    return daee_end(&reply);
}

/* The operations. All return 0 or the negative code of the refusal, whose words are in `daee_refusal`. */

/* Logs a line of two parts. One that is over the turn's limit is lost, and the log says so. */
static void daee_log(const char *level, const char *text, const char *more) {
    struct daee_text line = {0}, head = {0};
    daee_add(&line, text);
    daee_add(&line, more);
    daee_add_field(&head, "level", level);
    daee_add_field(&head, "text", line.at);
    daee_done("log", &head, "", 0);
    free(line.at);
}

/* Milliseconds since 1970: the event's, and what was waited for since. */
static uint64_t daee_now(void) {
    struct daee_text head = {0};
    struct daee_reply reply = daee_do("now", &head, "", 0);
    uint64_t ms = 0;
    if (reply.code >= 0) daee_json_number(reply.head.at, "ms", &ms);
    daee_free(&reply);
    return ms;
}

/* At most 4096 random bytes. */
static int32_t daee_random(void *out, size_t len) {
    struct daee_text head = {0}, bytes;
    daee_add_number_field(&head, "bytes", len);
    int32_t code = daee_given("random", &head, &bytes);
    if (!code) memcpy(out, bytes.at, bytes.len < len ? bytes.len : len);
    free(bytes.at);
    return code;
}

/* What woke the agent. `kind` says which fields the head has; to be freed with daee_event_free. */
struct daee_event {
    char *kind;
    struct daee_text head, body;
};

static int32_t daee_next(struct daee_event *event) {
    struct daee_text head = {0};
    struct daee_reply reply = daee_do("event.next", &head, "", 0);
    event->kind = reply.code < 0 ? NULL : daee_json_text(reply.head.at, "kind");
    event->head = reply.head;
    event->body = reply.body;
    return reply.code < 0 ? reply.code : 0;
}

static void daee_event_free(struct daee_event *event) {
    free(event->kind);
    free(event->head.at);
    free(event->body.at);
}

struct daee_header {
    const char *name, *value;
};

static void daee_add_headers(struct daee_text *head, const struct daee_header *headers, size_t count) {
    if (!count) return;
    daee_add_name(head, "headers");
    for (size_t n = 0; n < count; n++) {
        daee_add(head, n ? ",[" : "[[");
        daee_add_quoted(head, headers[n].name);
        daee_add(head, ",");
        daee_add_quoted(head, headers[n].value);
        daee_add(head, "]");
    }
    daee_add(head, "]");
}

/* Answers this turn's event. There is one answer to each. */
static int32_t daee_answer_with(uint16_t status, const struct daee_header *headers, size_t count, const void *body,
                                size_t len) {
    struct daee_text head = {0};
    daee_add_headers(&head, headers, count);
    daee_add_number_field(&head, "status", status);
    return daee_done("event.answer", &head, body, len);
}

/* The same with a text of this type, as in "text/plain". */
static int32_t daee_answer(uint16_t status, const char *type, const char *body) {
    struct daee_header header = {"content-type", type};
    return daee_answer_with(status, &header, 1, body, strlen(body));
}

/* The value of a key, to be freed; DAEE_NOT_FOUND if there is none. */
static int32_t daee_state_get(const char *key, struct daee_text *value) {
    struct daee_text head = {0};
    daee_add_field(&head, "key", key);
    return daee_given("state.get", &head, value);
}

static int32_t daee_state_set(const char *key, const void *value, size_t len) {
    struct daee_text head = {0};
    daee_add_field(&head, "key", key);
    return daee_done("state.set", &head, value, len);
}

static int32_t daee_state_delete(const char *key, bool *existed) {
    struct daee_text head = {0};
    daee_add_field(&head, "key", key);
    return daee_told("state.delete", &head, "", 0, "existed", existed);
}

/* Keys that begin with `prefix`, in order, behind `after` if that is no NULL; at most `limit`, which is at most 1000.
 * They come as a JSON array, to be freed and read with daee_json_item. */
static int32_t daee_state_list(const char *prefix, const char *after, uint64_t limit, struct daee_text *keys) {
    struct daee_text head = {0};
    daee_add_field(&head, "prefix", prefix);
    daee_add_field(&head, "after", after);
    daee_add_number_field(&head, "limit", limit);
    return daee_listed("state.list", &head, "keys", keys);
}

/* Sets a key if the SHA-256 of its value is still this one, in hexadecimal digits (daee_sha256), or, if that is NULL, if
 * there is no such key. */
static int32_t daee_state_swap(const char *key, const char *sha256, const void *value, size_t len, bool *swapped) {
    struct daee_text head = {0};
    daee_add_field(&head, "key", key);
    daee_add_name(&head, "expect");
    struct daee_text expect = {0};
    daee_add_field(&expect, "sha256", sha256);
    daee_add(&head, sha256 ? expect.at : "\"absent\"");
    if (sha256) daee_add(&head, "}");
    free(expect.at);
    return daee_told("state.cas", &head, value, len, "swapped", swapped);
}

/* At most `bytes` of a file from `offset` on, to be freed; at most 4 MiB at once. */
static int32_t daee_file_read(const char *path, uint64_t offset, uint64_t bytes, struct daee_text *content) {
    struct daee_text head = {0};
    daee_add_field(&head, "path", path);
    daee_add_number_field(&head, "offset", offset);
    daee_add_number_field(&head, "bytes", bytes);
    return daee_given("file.read", &head, content);
}

/* Writes a whole file; one that is not there is made, in a folder that is. */
static int32_t daee_file_write(const char *path, const void *content, size_t len) {
    struct daee_text head = {0};
    daee_add_field(&head, "path", path);
    return daee_done("file.write", &head, content, len);
}

/* Writes over what is in a file from `offset` on. Between its end and there it gets zeros. */
static int32_t daee_file_write_at(const char *path, uint64_t offset, const void *content, size_t len) {
    struct daee_text head = {0};
    daee_add_field(&head, "path", path);
    daee_add_number_field(&head, "offset", offset);
    return daee_done("file.write", &head, content, len);
}

/* Writes behind the end of a file, which is made if it is not there. */
static int32_t daee_file_append(const char *path, const void *content, size_t len) {
    struct daee_text head = {0};
    daee_add_field(&head, "path", path);
    daee_add_field(&head, "offset", "end");
    return daee_done("file.write", &head, content, len);
}

/* Cuts a file to this size, or fills it up with zeros. */
static int32_t daee_file_truncate(const char *path, uint64_t size) {
    struct daee_text head = {0};
    daee_add_field(&head, "path", path);
    daee_add_number_field(&head, "size", size);
    return daee_done("file.truncate", &head, "", 0);
}

/* What is known of a file or a folder. */
struct daee_stat {
    bool directory;
    uint64_t size, modified_ns;
};

static int32_t daee_stat_of(const char *op, struct daee_text *head, struct daee_stat *stat) {
    struct daee_reply reply = daee_do(op, head, "", 0);
    memset(stat, 0, sizeof *stat);
    if (reply.code >= 0) {
        char *kind = daee_json_text(reply.head.at, "kind");
        stat->directory = kind && !strcmp(kind, "directory");
        daee_json_number(reply.head.at, "size", &stat->size);
        daee_json_number(reply.head.at, "modified_ns", &stat->modified_ns);
        free(kind);
    }
    return daee_end(&reply);
}

static int32_t daee_file_stat(const char *path, struct daee_stat *stat) {
    struct daee_text head = {0};
    daee_add_field(&head, "path", path);
    return daee_stat_of("file.stat", &head, stat);
}

/* Makes an empty file. One that is there is left alone, or refused if it must be new. */
static int32_t daee_file_create(const char *path, bool new, struct daee_stat *stat) {
    struct daee_text head = {0};
    daee_add_field(&head, "path", path);
    daee_add_name(&head, "new");
    daee_add(&head, new ? "true" : "false");
    return daee_stat_of("file.create", &head, stat);
}

/* Makes a folder, in one that is there. */
static int32_t daee_file_mkdir(const char *path, struct daee_stat *stat) {
    struct daee_text head = {0};
    daee_add_field(&head, "path", path);
    return daee_stat_of("file.mkdir", &head, stat);
}

/* What is in a folder, behind the name `after` if that is no NULL; at most `limit`, which is at most 1000. It comes as a
 * JSON array of objects with `name` and `kind`, to be freed and read with daee_json_item. */
static int32_t daee_file_list(const char *path, const char *after, uint64_t limit, struct daee_text *entries) {
    struct daee_text head = {0};
    daee_add_field(&head, "path", path);
    daee_add_field(&head, "after", after);
    daee_add_number_field(&head, "limit", limit);
    return daee_listed("file.list", &head, "entries", entries);
}

/* Removes a file or an empty folder. */
static int32_t daee_file_remove(const char *path) {
    struct daee_text head = {0};
    daee_add_field(&head, "path", path);
    return daee_done("file.remove", &head, "", 0);
}

/* Moves a file or a folder. It takes the place of a file, or of an empty folder. */
static int32_t daee_file_rename(const char *path, const char *to) {
    struct daee_text head = {0};
    daee_add_field(&head, "path", path);
    daee_add_field(&head, "to", to);
    return daee_done("file.rename", &head, "", 0);
}

/* For daee_file_touch. */
#define DAEE_NOW UINT64_MAX

/* Sets when it was last written, in nanoseconds since 1970 or DAEE_NOW. */
static int32_t daee_file_touch(const char *path, uint64_t modified_ns) {
    struct daee_text head = {0};
    daee_add_field(&head, "path", path);
    if (modified_ns != DAEE_NOW) daee_add_number_field(&head, "modified_ns", modified_ns);
    return daee_done("file.touch", &head, "", 0);
}

/* An event of kind `timer` with this name at a time in milliseconds since 1970. One of the same name is set anew. */
static int32_t daee_timer_at(const char *name, uint64_t at_ms) {
    struct daee_text head = {0};
    daee_add_field(&head, "name", name);
    daee_add_number_field(&head, "at_ms", at_ms);
    return daee_done("timer.set", &head, "", 0);
}

/* The same so many milliseconds from now. */
static int32_t daee_timer_after(const char *name, uint64_t after_ms) {
    struct daee_text head = {0};
    daee_add_field(&head, "name", name);
    daee_add_number_field(&head, "after_ms", after_ms);
    return daee_done("timer.set", &head, "", 0);
}

static int32_t daee_timer_cancel(const char *name, bool *existed) {
    struct daee_text head = {0};
    daee_add_field(&head, "name", name);
    return daee_told("timer.cancel", &head, "", 0, "existed", existed);
}

/* A request to somebody. What is 0 is left out. */
struct daee_fetch {
    const char *method, *url;
    const struct daee_header *headers;
    size_t header_count;
    const void *body;
    size_t body_len;
    uint64_t timeout_ms;
};

/* What came back: `daee_header(head.at, "content-type")` finds a header. To be freed with daee_fetched_free. */
struct daee_fetched {
    uint64_t status;
    struct daee_text head, body;
};

/* Fetches. Whatever status comes back is an answer; a refusal says that none came. */
static int32_t daee_fetch(const struct daee_fetch *fetch, struct daee_fetched *fetched) {
    struct daee_text head = {0};
    daee_add_field(&head, "url", fetch->url);
    daee_add_field(&head, "method", fetch->method);
    daee_add_headers(&head, fetch->headers, fetch->header_count);
    if (fetch->timeout_ms) daee_add_number_field(&head, "timeout_ms", fetch->timeout_ms);
    struct daee_reply reply = daee_do("http.fetch", &head, fetch->body, fetch->body_len);
    fetched->status = 0;
    if (reply.code >= 0) daee_json_number(reply.head.at, "status", &fetched->status);
    fetched->head = reply.head;
    fetched->body = reply.body;
    return reply.code < 0 ? reply.code : 0;
}

static void daee_fetched_free(struct daee_fetched *fetched) {
    free(fetched->head.at);
    free(fetched->body.at);
}

/* Content that the node has verified against its CID, to be freed; more than `bytes_max` of it is refused. */
static int32_t daee_ipfs_read(const char *cid, uint64_t bytes_max, struct daee_text *content) {
    struct daee_text head = {0};
    daee_add_field(&head, "cid", cid);
    daee_add_number_field(&head, "max_bytes", bytes_max);
    return daee_given("ipfs.read", &head, content);
}

/* Publishes a value under a topic in the outbox contract, once the turn is kept. */
static int32_t daee_publish(const char *topic, const void *data, size_t len) {
    struct daee_text head = {0};
    daee_add_field(&head, "topic", topic);
    return daee_done("chain.publish", &head, data, len);
}

/* The SHA-256 of these bytes in hexadecimal digits, as daee_state_swap takes it. */
static void daee_sha256(const void *data, size_t len, char digits[65]) {
    static const uint32_t K[64] = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
    };
    uint32_t hash[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    struct daee_text padded = {0};
    daee_add_bytes(&padded, data, len);
    daee_add_bytes(&padded, "\x80", 1);
    while (padded.len % 64 != 56) daee_add_bytes(&padded, "", 1);
    for (int n = 56; n >= 0; n -= 8) daee_add_bytes(&padded, &(char){(uint64_t)len * 8 >> n}, 1);
    for (size_t at = 0; at < padded.len; at += 64) {
        uint32_t w[64], h[8];
        const unsigned char *block = (const unsigned char *)padded.at + at;
        memcpy(h, hash, sizeof h);
#define DAEE_TURNED(word, by) ((word) >> (by) | (word) << (32 - (by)))
        for (int n = 0; n < 64; n++) {
            if (n < 16) {
                w[n] = (uint32_t)block[n * 4] << 24 | block[n * 4 + 1] << 16 | block[n * 4 + 2] << 8 | block[n * 4 + 3];
            } else {
                uint32_t a = w[n - 15], b = w[n - 2];
                w[n] = w[n - 16] + w[n - 7] + (DAEE_TURNED(a, 7) ^ DAEE_TURNED(a, 18) ^ a >> 3)
                     + (DAEE_TURNED(b, 17) ^ DAEE_TURNED(b, 19) ^ b >> 10);
            }
            uint32_t e = h[4], a = h[0];
            uint32_t one = h[7] + (DAEE_TURNED(e, 6) ^ DAEE_TURNED(e, 11) ^ DAEE_TURNED(e, 25))
                         + ((e & h[5]) ^ (~e & h[6])) + K[n] + w[n];
            uint32_t two = (DAEE_TURNED(a, 2) ^ DAEE_TURNED(a, 13) ^ DAEE_TURNED(a, 22))
                         + ((a & h[1]) ^ (a & h[2]) ^ (h[1] & h[2]));
            memmove(h + 1, h, 7 * sizeof *h);
            h[4] += one;
            h[0] = one + two;
        }
#undef DAEE_TURNED
        for (int n = 0; n < 8; n++) hash[n] += h[n];
    }
    free(padded.at);
    for (int n = 0; n < 64; n++) digits[n] = "0123456789abcdef"[hash[n / 8] >> (28 - n % 8 * 4) & 15];
    digits[64] = 0;
}

/* Makes a module an agent. `turn` is a `bool turn(const struct daee_event *)`: whether what it did is kept. */

/* A reactor: called once for each event. Build it with -mexec-model=reactor. */
#define DAEE_REACTOR(turn) \
    static int32_t daee_turn_once(void) { return daee_turn_of(turn); } \
    DAEE_REACTOR_ENTRY(daee_turn_once)

/* A resident, `run: resident` in its manifest: loops on its events. A turn that is undone ends it, and the next event
 * starts it afresh. */
#define DAEE_RESIDENT(turn) \
    static int32_t daee_turn_once(void) { return daee_turn_of(turn); } \
    DAEE_RESIDENT_ENTRY(daee_turn_once)

/* For one event, `run: per-event` in its manifest. */
#define DAEE_PER_EVENT(turn) \
    int main(void) { return daee_turn_of(turn); }

static int32_t daee_turn_of(bool (*turn)(const struct daee_event *)) {
    struct daee_event event;
    bool kept = !daee_next(&event) && event.kind && turn(&event);
    daee_event_free(&event);
    return kept ? 0 : 1;
}

/* The same for a `int32_t once(void)`, which takes the event itself and returns 0 to keep the turn. */
#define DAEE_REACTOR_ENTRY(once) \
    __attribute__((export_name("daee_turn"))) int32_t daee_turn(void) { return once(); }

#define DAEE_RESIDENT_ENTRY(once) \
    int main(void) { \
        while (!once()); \
        return 1; \
    }

#endif
