/* sjlj.c: setjmp and longjmp for nodes, which have no exceptions of WebAssembly's.
 *
 * The compiler turns each call of a function that calls setjmp into a call of invoke_*, whose name says the types. A
 * longjmp has all functions return, one after another, as Binaryen's asyncify lets them, until there is an
 * invoke_*: what they saved for coming back is passed over, the stack is put back, and the compiler's code goes on
 * where setjmp was called with this label.
 */
#include <stddef.h>
#include <stdint.h>

__attribute__((import_module("asyncify"), import_name("start_unwind"))) void start_unwind(void *);
__attribute__((import_module("asyncify"), import_name("stop_unwind"))) void stop_unwind(void);

/* Where asyncify has functions save their variables. It traps when there is no more room. */
static char saved[512 << 10];
static struct {
    char *from, *to;
} room;
static int unwinding;

struct place {
    void *of;
    uint32_t label;
};

/* Names that the compiler knows. */
uintptr_t __THREW__, __threwValue;
static uint32_t second;

void setTempRet0(uint32_t value) {
    second = value;
}

uint32_t getTempRet0(void) {
    return second;
}

void __wasm_setjmp(struct place *place, uint32_t label, void *of) {
    place->of = of;
    place->label = label;
}

uint32_t __wasm_setjmp_test(struct place *place, void *of) {
    return place->of == of ? place->label : 0;
}

__attribute__((noinline)) void emscripten_longjmp(struct place *place, int value) {
    __THREW__ = (uintptr_t)place;
    __threwValue = value ? value : 1;
    room.from = saved;
    room.to = saved + sizeof saved;
    unwinding = 1;
    start_unwind(&room);
}

__asm__(".globaltype __stack_pointer, i32\n");

static inline uint32_t stack(void) {
    uint32_t at;
    __asm__ volatile("global.get __stack_pointer\nlocal.set %0" : "=r"(at));
    return at;
}

static inline void caught(uint32_t at) {
    if (!unwinding) return;
    unwinding = 0;
    stop_unwind();
    __asm__ volatile("local.get %0\nglobal.set __stack_pointer" ::"r"(at));
}

/* The functions that are called take up to six words. */
#define INVOKE(suffix, types, arguments, ...) \
    __attribute__((noinline)) void invoke_v##suffix(void (*call)types, ##__VA_ARGS__) { \
        uint32_t at = stack(); \
        call arguments; \
        caught(at); \
    } \
    __attribute__((noinline)) int invoke_i##suffix(int (*call)types, ##__VA_ARGS__) { \
        uint32_t at = stack(); \
        int result = call arguments; \
        caught(at); \
        return result; \
    }
INVOKE(, (void), ())
INVOKE(i, (int), (a), int a)
INVOKE(ii, (int, int), (a, b), int a, int b)
INVOKE(iii, (int, int, int), (a, b, c), int a, int b, int c)
INVOKE(iiii, (int, int, int, int), (a, b, c, d), int a, int b, int c, int d)
INVOKE(iiiii, (int, int, int, int, int), (a, b, c, d, e), int a, int b, int c, int d, int e)
INVOKE(iiiiii, (int, int, int, int, int, int), (a, b, c, d, e, f), int a, int b, int c, int d, int e, int f)
