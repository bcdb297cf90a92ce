;; Answers with a status that is none, and headers that are none.
;; expect: done
(module
  (import "daee" "call" (func $call (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "event.answer")
  (data (i32.const 256) "\0c\00\00\00{\22status\22:1}")
  (data (i32.const 288) "\0d\00\00\00{\22status\22:-1}")
  (data (i32.const 320) "\0f\00\00\00{\22headers\22:[1]}")
  (func $must (param $found i32) (param $wanted i32)
    (if (i32.ne (local.get $found) (local.get $wanted)) (then (unreachable))))
  (func (export "daee_turn") (result i32)
    (call $must (call $call (i32.const 16) (i32.const 12) (i32.const 0x100) (i32.const 16)) (i32.const -3))
    (call $must (call $call (i32.const 16) (i32.const 12) (i32.const 0x120) (i32.const 17)) (i32.const -3))
    (call $must (call $call (i32.const 16) (i32.const 12) (i32.const 0x140) (i32.const 19)) (i32.const -3))
    (i32.const 0)))
