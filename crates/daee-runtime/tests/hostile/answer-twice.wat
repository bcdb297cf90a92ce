;; Answers its event twice.
;; expect: done
(module
  (import "daee" "call" (func $call (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "event.answer")
  (data (i32.const 256) "\02\00\00\00{}")
  (func $must (param $found i32) (param $wanted i32)
    (if (i32.ne (local.get $found) (local.get $wanted)) (then (unreachable))))
  (func (export "daee_turn") (result i32)
    (call $must (call $call (i32.const 16) (i32.const 12) (i32.const 0x100) (i32.const 6)) (i32.const 6))
    (call $must (call $call (i32.const 16) (i32.const 12) (i32.const 0x100) (i32.const 6)) (i32.const -7))
    (i32.const 0)))
