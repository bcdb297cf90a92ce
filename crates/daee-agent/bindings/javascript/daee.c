/* daee.c: runs agent.js in QuickJS, one call for each event. What JavaScript sees of it is in daee.js. */
#include "daee.h"

#include "quickjs.h"

/* FILES: the modules by the names that they are imported by, each with a 0 behind its text. */
struct file {
    const char *name;
    const unsigned char *text;
    size_t len;
};
#include "files.h"

/* Of the stack that build.sh gives the module. The rest is for what is called at the end of it. */
#define JS_STACK_BYTES (384 << 10)
/* Longer texts are cut, and longer stacks left out: the door takes 64 KiB. */
#define LINE_BYTES_MAX 4000

static JSContext *ctx;
static JSValue turn;
/* Promises that were rejected and that nobody has looked at, and why the last of them was. */
static int unhandled;
static JSValue reason;

/* Logs what was thrown, with where. */
static void log_thrown(JSValueConst thrown) {
    const char *text = JS_ToCString(ctx, thrown);
    JSValue stack = JS_IsError(thrown) ? JS_GetPropertyStr(ctx, thrown, "stack") : JS_UNDEFINED;
    const char *where = JS_IsString(stack) ? JS_ToCString(ctx, stack) : NULL;
    struct daee_text line = {0};
    daee_add(&line, text ? text : "something was thrown that has no text");
    if (line.len > LINE_BYTES_MAX) line.at[line.len = LINE_BYTES_MAX] = 0;
    if (where && strlen(where) <= LINE_BYTES_MAX) {
        daee_add(&line, "\n");
        daee_add(&line, where);
        while (line.at[line.len - 1] == '\n') line.at[--line.len] = 0;
    }
    daee_log("error", line.at, "");
    free(line.at);
    JS_FreeCString(ctx, where);
    JS_FreeCString(ctx, text);
    JS_FreeValue(ctx, stack);
}

static int32_t fail(void) {
    JSValue thrown = JS_GetException(ctx);
    log_thrown(thrown);
    JS_FreeValue(ctx, thrown);
    return 1;
}

/* call(op, head, body): [code, head, body] */
static JSValue js_call(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
    (void)this;
    (void)argc;
    size_t body_len;
    uint8_t *body = JS_GetUint8Array(ctx, &body_len, argv[2]);
    const char *op = body ? JS_ToCString(ctx, argv[0]) : NULL;
    const char *head = op ? JS_ToCString(ctx, argv[1]) : NULL;
    JSValue result = JS_EXCEPTION;
    if (head) {
        struct daee_reply reply = daee(op, head, body, body_len);
        JSValue parts[] = {
            JS_NewInt32(ctx, reply.code),
            JS_NewStringLen(ctx, reply.head.at, reply.head.len),
            JS_NewUint8ArrayCopy(ctx, (uint8_t *)reply.body.at, reply.body.len),
        };
        daee_free(&reply);
        result = JS_NewArrayFrom(ctx, 3, parts);
    }
    JS_FreeCString(ctx, head);
    JS_FreeCString(ctx, op);
    return result;
}

/* decode(bytes): text */
static JSValue js_decode(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
    (void)this;
    (void)argc;
    size_t len;
    uint8_t *bytes = JS_GetUint8Array(ctx, &len, argv[0]);
    return bytes ? JS_NewStringLen(ctx, (char *)bytes, len) : JS_EXCEPTION;
}

/* encode(text): bytes */
static JSValue js_encode(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
    (void)this;
    (void)argc;
    size_t len;
    const char *text = JS_ToCStringLen(ctx, &len, argv[0]);
    if (!text) return JS_EXCEPTION;
    JSValue bytes = JS_NewUint8ArrayCopy(ctx, (const uint8_t *)text, len);
    JS_FreeCString(ctx, text);
    return bytes;
}

/* sha256(bytes): hexadecimal digits */
static JSValue js_sha256(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
    (void)this;
    (void)argc;
    size_t len;
    char digits[65];
    uint8_t *bytes = JS_GetUint8Array(ctx, &len, argv[0]);
    if (!bytes) return JS_EXCEPTION;
    daee_sha256(bytes, len, digits);
    return JS_NewString(ctx, digits);
}

/* depth(text): how deep JSON may be nested in it. */
static JSValue js_depth(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
    (void)this;
    (void)argc;
    const char *text = JS_ToCString(ctx, argv[0]);
    if (!text) return JS_EXCEPTION;
    int32_t depth = 0, deepest = 0;
    bool in_text = false;
    for (const char *c = text; *c; c++) {
        if (in_text && *c == '\\' && c[1]) c++;
        else if (*c == '"') in_text = !in_text;
        else if (!in_text && (*c == '[' || *c == '{') && ++depth > deepest) deepest = depth;
        else if (!in_text && (*c == ']' || *c == '}')) depth--;
    }
    JS_FreeCString(ctx, text);
    return JS_NewInt32(ctx, deepest);
}

/* serve(turn): what to call for each event. */
static JSValue js_serve(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
    (void)this;
    (void)argc;
    JS_FreeValue(ctx, turn);
    turn = JS_DupValue(ctx, argv[0]);
    return JS_UNDEFINED;
}

static const JSCFunctionListEntry NODE[] = {
    JS_CFUNC_DEF("call", 3, js_call),
    JS_CFUNC_DEF("decode", 1, js_decode),
    JS_CFUNC_DEF("depth", 1, js_depth),
    JS_CFUNC_DEF("encode", 1, js_encode),
    JS_CFUNC_DEF("serve", 1, js_serve),
    JS_CFUNC_DEF("sha256", 1, js_sha256),
};
#define NODE_LEN (sizeof NODE / sizeof *NODE)

static int fill_node(JSContext *ctx, JSModuleDef *module) {
    return JS_SetModuleExportList(ctx, module, NODE, NODE_LEN);
}

static JSModuleDef *load(JSContext *ctx, const char *name, void *opaque) {
    (void)opaque;
    for (size_t n = 0; n < sizeof FILES / sizeof *FILES; n++) {
        if (strcmp(FILES[n].name, name)) continue;
        int flags = JS_EVAL_TYPE_MODULE | JS_EVAL_FLAG_COMPILE_ONLY;
        JSValue module = JS_Eval(ctx, (const char *)FILES[n].text, FILES[n].len, name, flags);
        if (JS_IsException(module)) return NULL;
        JSModuleDef *loaded = JS_VALUE_GET_PTR(module);
        JS_FreeValue(ctx, module);
        return loaded;
    }
    JS_ThrowReferenceError(ctx, "there is no module %s: beside agent.js are those that can be imported", name);
    return NULL;
}

static void rejected(JSContext *ctx, JSValueConst promise, JSValueConst why, bool handled, void *opaque) {
    (void)promise;
    (void)opaque;
    unhandled += handled ? -1 : 1;
    if (handled) return;
    JS_FreeValue(ctx, reason);
    reason = JS_DupValue(ctx, why);
}

/* Lets a promise come to its end. 0 if it was kept, and all else that was begun. */
static int32_t settle(JSValue promise) {
    JSContext *of;
    int ran;
    while ((ran = JS_ExecutePendingJob(JS_GetRuntime(ctx), &of)) > 0);
    JSPromiseStateEnum state = JS_PromiseState(ctx, promise);
    JS_FreeValue(ctx, promise);
    if (ran < 0) return fail();
    if (unhandled) {
        log_thrown(reason);
        return 1;
    }
    if (state == JS_PROMISE_PENDING) {
        daee_log("error", "the turn waits for a promise that nothing will settle", "");
        return 1;
    }
    return 0;
}

static int32_t start(void) {
    JSRuntime *runtime = JS_NewRuntime();
    if (!runtime || !(ctx = JS_NewContext(runtime))) abort();
    JS_SetMaxStackSize(runtime, JS_STACK_BYTES);
    JS_UpdateStackTop(runtime);
    JS_SetModuleLoaderFunc(runtime, NULL, load, NULL);
    JS_SetHostPromiseRejectionTracker(runtime, rejected, NULL);
    turn = reason = JS_UNDEFINED;
    JSModuleDef *node = JS_NewCModule(ctx, "daee/node", fill_node);
    if (!node || JS_AddModuleExportList(ctx, node, NODE, NODE_LEN)) return fail();
    static const char MAIN[] = "import { run } from 'daee'; import * as agent from './agent.js'; run(agent);";
    JSValue done = JS_Eval(ctx, MAIN, sizeof MAIN - 1, "main", JS_EVAL_TYPE_MODULE);
    return JS_IsException(done) ? fail() : settle(done);
}

static int32_t turn_once(void) {
    if (!ctx && start()) return 1;
    JS_UpdateStackTop(JS_GetRuntime(ctx));
    JSValue done = JS_Call(ctx, turn, JS_UNDEFINED, 0, NULL);
    return JS_IsException(done) ? fail() : settle(done);
}

/* build.sh asks agent.yaml which. */
#ifdef RESIDENT
DAEE_RESIDENT_ENTRY(turn_once)
#else
DAEE_REACTOR_ENTRY(turn_once)
#endif
