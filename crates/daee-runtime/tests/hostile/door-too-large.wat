;; Sends more than a frame may have.
;; expect: done
(module
  (import "daee" "call" (func $call (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "log")
  (func $must (param $found i32) (param $wanted i32)
    (if (i32.ne (local.get $found) (local.get $wanted)) (then (unreachable))))
  (func (export "daee_turn") (result i32)
    (call $must (call $call (i32.const 16) (i32.const 3) (i32.const 0) (i32.const 0x800001)) (i32.const -4))
    (call $must (call $call (i32.const 16) (i32.const 3) (i32.const 0) (i32.const -1)) (i32.const -4))
    (i32.const 0)))
