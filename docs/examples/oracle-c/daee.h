/* daee.h: the guest's side of the door in C. Two imports, frames, and as much JSON as frames need.
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

/* The text of a field, to be freed, or NULL if it is no string. */
static char *daee_json_text(const char *json, const char *key) {
    size_t len;
    const char *value = daee_json_field(json, key, &len);
    if (!value || *value != '"') return NULL;
    struct daee_text text = {0};
    daee_add(&text, "");
    if (daee_json_unescape(&text, value, value + len)) return text.at;
    free(text.at);
    return NULL;
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

/* Logs a line of two parts. One that is over the turn's limit is lost, and the log says so. */
static void daee_log(const char *level, const char *text, const char *more) {
    struct daee_text line = {0}, head = {0};
    daee_add(&line, text);
    daee_add(&line, more);
    daee_add(&head, "{\"level\":");
    daee_add_quoted(&head, level);
    daee_add(&head, ",\"text\":");
    daee_add_quoted(&head, line.at);
    daee_add(&head, "}");
    struct daee_reply reply = daee("log", head.at, "", 0);
    daee_free(&reply);
    free(head.at);
    free(line.at);
}

#endif
