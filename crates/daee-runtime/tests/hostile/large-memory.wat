;; Starts with more memory than it may have.
;; expect: not started DAEE-R020
(module
  (memory (export "memory") 1000)
  (func (export "daee_turn") (result i32) (i32.const 0)))
