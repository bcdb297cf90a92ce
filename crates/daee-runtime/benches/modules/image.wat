;; An agent with all of its memory in use: MiB pages of it stand where the bench fills in, and a turn touches four.
(module
  (import "daee" "call" (func $call (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") PAGES)
  (data (i32.const 0) "event.next")
  DATA
  (global $turns (mut i32) (i32.const 0))

  (func (export "daee_turn") (result i32)
    (drop (call $call (i32.const 0) (i32.const 10) (i32.const 0) (i32.const 0)))
    (call $touch))

  ;; The same without the door.
  (func $touch (export "touch") (result i32)
    (global.set $turns (i32.add (global.get $turns) (i32.const 1)))
    (i32.store (i32.const 0x10000) (global.get $turns))
    (i32.store (i32.const 0x20000) (global.get $turns))
    (i32.store (i32.const 0x80000) (global.get $turns))
    (i32.store (i32.const 0x100000) (global.get $turns))
    (i32.const 0))

  (func (export "nothing") (result i32) (i32.const 0))

  ;; A million calls of the host.
  (func (export "chatter") (result i32)
    (local $left i32) (local $sum i32)
    (local.set $left (i32.const 1000000))
    (loop $again
      (local.set $sum (i32.add (local.get $sum)
        (call $call (i32.const 0) (i32.const 10) (i32.const 0) (i32.const 0))))
      (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (local.get $sum)))
