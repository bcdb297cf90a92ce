;; Goes to the door from each call of itself.
;; expect: stack
(module
  (import "daee" "call" (func $call (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "state.get")
  (func $deep (param i32) (result i32)
    (drop (call $call (i32.const 16) (i32.const 80) (i32.const 0) (i32.const 0)))
    (i32.add (i32.const 1) (call $deep (local.get 0))))
  (func (export "daee_turn") (result i32)
    (drop (call $deep (i32.const 0)))
    (i32.const 0)))
