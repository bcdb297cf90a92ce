;; Calls itself, for ever.
;; expect: stack
(module
  (memory (export "memory") 1)
  (func $deep (param i32) (result i32) (i32.add (i32.const 1) (call $deep (local.get 0))))
  (func (export "daee_turn") (result i32)
    (drop (call $deep (i32.const 0)))
    (i32.const 0)))
