;; Calls a function that does nothing, for ever.
;; expect: fuel
(module
  (memory (export "memory") 1)
  (func $nothing)
  (func (export "daee_turn") (result i32)
    (loop (call $nothing) (br 0))
    (i32.const 0)))
