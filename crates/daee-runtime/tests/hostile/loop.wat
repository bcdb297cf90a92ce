;; Computes nothing, for ever.
;; expect: fuel
(module
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32)
    (loop (br 0))
    (i32.const 0)))
