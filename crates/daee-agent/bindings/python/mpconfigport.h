/* mpconfigport.h: what of MicroPython is built. */
#include <alloca.h>
#include <stdint.h>

#define MICROPY_CPYTHON_COMPAT (1)
#define MICROPY_ENABLE_DOC_STRING (0)
#define MICROPY_ENABLE_GC (1)
#define MICROPY_ENABLE_SOURCE_LINE (1)
#define MICROPY_ERROR_REPORTING (MICROPY_ERROR_REPORTING_DETAILED)
#define MICROPY_FLOAT_IMPL (MICROPY_FLOAT_IMPL_DOUBLE)
#define MICROPY_LONGINT_IMPL (MICROPY_LONGINT_IMPL_MPZ)
#define MICROPY_MODULE_WEAK_LINKS (1)
#define MICROPY_NLR_SETJMP (1)
#define MICROPY_OPT_COMPUTED_GOTO (0)
#define MICROPY_STACK_CHECK (1)
#define MICROPY_USE_INTERNAL_PRINTF (0)

#define MICROPY_PY_ALL_INPLACE_SPECIAL_METHODS (1)
#define MICROPY_PY_ALL_SPECIAL_METHODS (1)
#define MICROPY_PY_ARRAY_SLICE_ASSIGN (1)
#define MICROPY_PY_BUILTINS_NOTIMPLEMENTED (1)
#define MICROPY_PY_BUILTINS_POW3 (1)
#define MICROPY_PY_BUILTINS_RANGE_BINOP (1)
#define MICROPY_PY_BUILTINS_SLICE_ATTRS (1)
#define MICROPY_PY_BUILTINS_STR_CENTER (1)
#define MICROPY_PY_BUILTINS_STR_PARTITION (1)
#define MICROPY_PY_BUILTINS_STR_SPLITLINES (1)
#define MICROPY_PY_BUILTINS_STR_UNICODE (1)
#define MICROPY_PY_CMATH (0)
#define MICROPY_PY_COLLECTIONS_DEQUE (1)
#define MICROPY_PY_COLLECTIONS_ORDEREDDICT (1)
#define MICROPY_PY_DELATTR_SETATTR (1)
#define MICROPY_PY_DESCRIPTORS (1)
#define MICROPY_PY_FUNCTION_ATTRS (1)
#define MICROPY_PY_IO_FILEIO (0)
#define MICROPY_PY_MATH_SPECIAL_FUNCTIONS (1)
#define MICROPY_PY_REVERSE_SPECIAL_METHODS (1)
#define MICROPY_PY_SYS_EXIT (0)
#define MICROPY_PY_SYS_MAXSIZE (1)
#define MICROPY_PY_SYS_PLATFORM "daee"
#define MICROPY_PY_SYS_STDFILES (0)
#define MICROPY_PY_UBINASCII (1)
#define MICROPY_PY_UHASHLIB (1)
#define MICROPY_PY_UHEAPQ (1)
#define MICROPY_PY_UJSON (1)
#define MICROPY_PY_URE (1)

extern const struct _mp_obj_module_t node_module;
#define MICROPY_PORT_BUILTIN_MODULES {MP_ROM_QSTR(MP_QSTR_node), MP_ROM_PTR(&node_module)},
#define MICROPY_PORT_BUILTIN_MODULE_WEAK_LINKS \
    {MP_ROM_QSTR(MP_QSTR_binascii), MP_ROM_PTR(&mp_module_ubinascii)}, \
    {MP_ROM_QSTR(MP_QSTR_collections), MP_ROM_PTR(&mp_module_collections)}, \
    {MP_ROM_QSTR(MP_QSTR_hashlib), MP_ROM_PTR(&mp_module_uhashlib)}, \
    {MP_ROM_QSTR(MP_QSTR_heapq), MP_ROM_PTR(&mp_module_uheapq)}, \
    {MP_ROM_QSTR(MP_QSTR_io), MP_ROM_PTR(&mp_module_io)}, \
    {MP_ROM_QSTR(MP_QSTR_json), MP_ROM_PTR(&mp_module_ujson)}, \
    {MP_ROM_QSTR(MP_QSTR_re), MP_ROM_PTR(&mp_module_ure)}, \
    {MP_ROM_QSTR(MP_QSTR_struct), MP_ROM_PTR(&mp_module_ustruct)},

typedef int32_t mp_int_t;
typedef uint32_t mp_uint_t;
typedef long mp_off_t;

void print_text(const char *text, size_t len);
#define MP_PLAT_PRINT_STRN(text, len) print_text(text, len)
#define MP_STATE_PORT MP_STATE_VM
#define MICROPY_PORT_ROOT_POINTERS void *serve;
