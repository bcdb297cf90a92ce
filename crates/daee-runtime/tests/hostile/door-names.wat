;; Asks for operations that do not exist, by names of every kind.
;; expect: done
(module
  (import "daee" "call" (func $call (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "no.such")
  (data (i32.const 32) "\ff\fe")
  (data (i32.const 48) "now\00")
  (func $must (param $found i32) (param $wanted i32)
    (if (i32.ne (local.get $found) (local.get $wanted)) (then (unreachable))))
  (func (export "daee_turn") (result i32)
    (call $must (call $call (i32.const 16) (i32.const 7) (i32.const 0) (i32.const 0)) (i32.const -2))
    (call $must (call $call (i32.const 16) (i32.const 0) (i32.const 0) (i32.const 0)) (i32.const -2))
    (call $must (call $call (i32.const 32) (i32.const 2) (i32.const 0) (i32.const 0)) (i32.const -3))
    (call $must (call $call (i32.const 48) (i32.const 4) (i32.const 0) (i32.const 0)) (i32.const -2))
    (call $must (call $call (i32.const 64) (i32.const 64) (i32.const 0) (i32.const 0)) (i32.const -2))
    (call $must (call $call (i32.const 64) (i32.const 65) (i32.const 0) (i32.const 0)) (i32.const -2))
    (i32.const 0)))
