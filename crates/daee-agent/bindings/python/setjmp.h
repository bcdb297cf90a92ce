/* setjmp.h: MicroPython's exceptions jump, and WebAssembly cannot. sjlj.c says how they do. */
#pragma once

typedef struct {
    void *of;
    unsigned label;
} jmp_buf[1];

__attribute__((returns_twice)) int setjmp(jmp_buf);
_Noreturn void longjmp(jmp_buf, int);
