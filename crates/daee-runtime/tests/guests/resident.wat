;; Loops on the next event and counts in memory. Answers with the count and what the event's body was. The first
;; byte of the body may ask for more: 1 traps, 2 returns, 3 exits with code 3, 4 never asks again, 5 grows its table, 6 asks
;; for the next event with what is no frame, over and over.
(module
  (import "daee" "call" (func $call (param i32 i32 i32 i32) (result i32)))
  (import "daee" "read" (func $read (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (table $t 1 funcref)
  (data (i32.const 16) "event.next")
  (data (i32.const 32) "event.answer")
  (data (i32.const 48) "state.set")
  (data (i32.const 0x100) "\02\00\00\00{}")
  (data (i32.const 0x140) "\0b\00\00\00{\"key\":\"k\"}")
  (func (export "_start")
    (local $byte i32)
    (loop $next
      (if (i32.lt_s (call $call (i32.const 16) (i32.const 10) (i32.const 0) (i32.const 0)) (i32.const 0))
        (then (unreachable)))
      (drop (call $read (i32.const 0x1000) (i32.const 0x1000)))
      (local.set $byte (i32.load8_u (i32.add (i32.const 0x1004) (i32.load (i32.const 0x1000)))))
      (i32.store (i32.const 0xf00) (i32.add (i32.load (i32.const 0xf00)) (i32.const 1)))
      (i32.store (i32.const 0x106) (i32.load (i32.const 0xf00)))
      ;; The count goes into the state as well.
      (i32.store (i32.const 0x14f) (i32.load (i32.const 0xf00)))
      (drop (call $call (i32.const 48) (i32.const 9) (i32.const 0x140) (i32.const 19)))
      (drop (call $call (i32.const 32) (i32.const 12) (i32.const 0x100) (i32.const 10)))
      (if (i32.eq (local.get $byte) (i32.const 1)) (then (unreachable)))
      (if (i32.eq (local.get $byte) (i32.const 2)) (then (return)))
      (if (i32.eq (local.get $byte) (i32.const 3)) (then (call $exit (i32.const 3))))
      (if (i32.eq (local.get $byte) (i32.const 4)) (then (loop (br 0))))
      (if (i32.eq (local.get $byte) (i32.const 5)) (then
        (loop $grow
          (br_if $grow (i32.ne (table.grow $t (ref.null func) (i32.const 64)) (i32.const -1)))
          (unreachable))))
      (if (i32.eq (local.get $byte) (i32.const 6)) (then
        (loop $ask
          (drop (call $call (i32.const 16) (i32.const 10) (i32.const 16) (i32.const 1)))
          (br $ask))))
      (br $next))))
