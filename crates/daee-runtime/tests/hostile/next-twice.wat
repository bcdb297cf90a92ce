;; Asks for a second event.
;; expect: done
(module
  (import "daee" "call" (func $call (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "event.next")
  (func $must (param $found i32) (param $wanted i32)
    (if (i32.ne (local.get $found) (local.get $wanted)) (then (unreachable))))
  (func (export "daee_turn") (result i32)
    (call $must (i32.lt_s (call $call (i32.const 16) (i32.const 10) (i32.const 0) (i32.const 0)) (i32.const 0)) (i32.const 0))
    (call $must (call $call (i32.const 16) (i32.const 10) (i32.const 0) (i32.const 0)) (i32.const -7))
    (i32.const 0)))
