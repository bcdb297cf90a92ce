/* daee.c: runs agent.py in MicroPython, one call for each event. What Python sees of it is in daee.py. */
#include "daee.h"

#include "py/builtin.h"
#include "py/compile.h"
#include "py/gc.h"
#include "py/lexer.h"
#include "py/mperrno.h"
#include "py/objstr.h"
#include "py/objtuple.h"
#include "py/runtime.h"
#include "py/stackctrl.h"

/* Where embed.py puts the modules. Of each there are the length of its text, its name, a 0, its text and another 0. */
#define FILES ((const char *)(1 << 20))
#define FILES_END UINT32_MAX

/* What a turn that goes on from the last ones may hold at once. With it goes `resources.memory` of agent.yaml. */
#ifndef HEAP_BYTES
#define HEAP_BYTES (4 << 20)
#endif
/* Garbage is collected when so much was allocated: seldom, for that looks at all of the heap. */
#define ALLOCATED_BYTES_MAX (512 << 10)
/* Of the stack that build.sh gives the module. The rest is for what is called at the end of it. */
#define PYTHON_STACK_BYTES (256 << 10)
/* Longer lines are cut in their middle. */
#define LINE_BYTES_MAX 8000

static char heap[HEAP_BYTES];
static bool started;
/* What was printed of a line that has no end yet. */
static struct daee_text line;

static void log_line(const char *level) {
    const char *rest = "";
    if (line.len > LINE_BYTES_MAX) {
        char *cut = line.at + LINE_BYTES_MAX / 2;
        rest = line.at + line.len - LINE_BYTES_MAX / 2;
        /* No character is taken apart. */
        while ((*rest & 0xc0) == 0x80) rest++;
        while ((*cut & 0xc0) == 0x80) cut--;
        strcpy(cut, "\n...\n");
    }
    daee_log(level, line.at ? line.at : "", rest);
    line.len = 0;
    if (line.at) *line.at = 0;
}

/* `print`, which logs whole lines. */
void print_text(const char *text, size_t len) {
    const char *end;
    while ((end = memchr(text, '\n', len))) {
        daee_add_bytes(&line, text, end - text);
        log_line("info");
        len -= end + 1 - text;
        text = end + 1;
    }
    if (len) daee_add_bytes(&line, text, len);
}

static void add_text(void *to, const char *text, size_t len) {
    daee_add_bytes(to, text, len);
}

/* call(op, head, body): (code, head, body) */
STATIC mp_obj_t node_call(mp_obj_t op, mp_obj_t head, mp_obj_t body) {
    mp_buffer_info_t bytes;
    mp_get_buffer_raise(body, &bytes, MP_BUFFER_READ);
    struct daee_reply reply = daee(mp_obj_str_get_str(op), mp_obj_str_get_str(head), bytes.buf, bytes.len);
    mp_obj_t parts[] = {
        mp_obj_new_int(reply.code),
        mp_obj_new_str(reply.head.at, reply.head.len),
        mp_obj_new_bytes((const byte *)reply.body.at, reply.body.len),
    };
    daee_free(&reply);
    return mp_obj_new_tuple(3, parts);
}
STATIC MP_DEFINE_CONST_FUN_OBJ_3(node_call_obj, node_call);

/* is_json(text): whether every bracket is closed, which MicroPython's reader does not ask. */
STATIC mp_obj_t node_is_json(mp_obj_t text) {
    mp_buffer_info_t bytes;
    mp_get_buffer_raise(text, &bytes, MP_BUFFER_READ);
    struct daee_text json = {0};
    daee_add_bytes(&json, bytes.buf, bytes.len);
    bool whole = daee_json_is_whole(&json);
    free(json.at);
    return mp_obj_new_bool(whole);
}
STATIC MP_DEFINE_CONST_FUN_OBJ_1(node_is_json_obj, node_is_json);

/* serve(turn): what to call for each event. */
STATIC mp_obj_t node_serve(mp_obj_t turn) {
    MP_STATE_PORT(serve) = MP_OBJ_TO_PTR(turn);
    return mp_const_none;
}
STATIC MP_DEFINE_CONST_FUN_OBJ_1(node_serve_obj, node_serve);

STATIC const mp_rom_map_elem_t NODE[] = {
    {MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR_node)},
    {MP_ROM_QSTR(MP_QSTR_call), MP_ROM_PTR(&node_call_obj)},
    {MP_ROM_QSTR(MP_QSTR_is_json), MP_ROM_PTR(&node_is_json_obj)},
    {MP_ROM_QSTR(MP_QSTR_serve), MP_ROM_PTR(&node_serve_obj)},
};
STATIC MP_DEFINE_CONST_DICT(node_globals, NODE);
const mp_obj_module_t node_module = {.base = {&mp_type_module}, .globals = (mp_obj_dict_t *)&node_globals};

/* The text of a file, or NULL. */
static const char *file(const char *name, uint32_t *len) {
    for (const char *at = FILES;;) {
        memcpy(len, at, 4);
        if (*len == FILES_END) return NULL;
        const char *known = at + 4, *text = known + strlen(known) + 1;
        if (!strcmp(known, name)) return text;
        at = text + *len + 1;
    }
}

mp_import_stat_t mp_import_stat(const char *path) {
    uint32_t len;
    return file(path, &len) ? MP_IMPORT_STAT_FILE : MP_IMPORT_STAT_NO_EXIST;
}

mp_lexer_t *mp_lexer_new_from_file(const char *name) {
    uint32_t len;
    const char *text = file(name, &len);
    if (!text) mp_raise_OSError(MP_ENOENT);
    return mp_lexer_new_from_str_len(qstr_from_str(name), text, len, 0);
}

mp_obj_t mp_builtin_open(size_t argc, const mp_obj_t *args, mp_map_t *kwargs) {
    (void)argc;
    (void)args;
    (void)kwargs;
    mp_raise_OSError(MP_ENOENT);
}
MP_DEFINE_CONST_FUN_OBJ_KW(mp_builtin_open_obj, 1, mp_builtin_open);

/* What is alive is in the interpreter's state or on the stack, where build.sh has all pointers put. */
void gc_collect(void) {
    void *here;
    gc_collect_start();
    gc_collect_root(&here, ((char *)MP_STATE_THREAD(stack_top) - (char *)&here) / sizeof here);
    gc_collect_end();
}

void nlr_jump_fail(void *val) {
    (void)val;
    abort();
}

static void start(void) {
    gc_init(heap, heap + sizeof heap);
    MP_STATE_MEM(gc_alloc_threshold) = ALLOCATED_BYTES_MAX / MICROPY_BYTES_PER_GC_BLOCK;
    mp_init();
    mp_obj_list_init(mp_sys_path, 0);
    mp_obj_list_append(mp_sys_path, MP_OBJ_NEW_QSTR(MP_QSTR_));
    mp_obj_list_init(mp_sys_argv, 0);
    mp_import_name(MP_QSTR_daee, mp_const_none, MP_OBJ_NEW_SMALL_INT(0));
}

static int32_t turn_once(void) {
    int top;
    MP_STATE_THREAD(stack_top) = (char *)&top;
    mp_stack_set_limit(PYTHON_STACK_BYTES);
    nlr_buf_t nlr;
    if (nlr_push(&nlr) == 0) {
        if (!started) start();
        started = true;
        mp_call_function_0(MP_OBJ_FROM_PTR(MP_STATE_PORT(serve)));
        nlr_pop();
        if (line.len) log_line("info");
        return 0;
    }
    if (line.len) log_line("info");
    mp_print_t print = {&line, add_text};
    mp_obj_print_exception(&print, MP_OBJ_FROM_PTR(nlr.ret_val));
    while (line.len && line.at[line.len - 1] == '\n') line.at[--line.len] = 0;
    log_line("error");
    return 1;
}

/* build.sh asks agent.yaml which. */
#ifdef RESIDENT
DAEE_RESIDENT_ENTRY(turn_once)
#else
DAEE_REACTOR_ENTRY(turn_once)
#endif
