;; Starts with more elements than it may have.
;; expect: not started DAEE-R020
(module
  (memory (export "memory") 1)
  (table 5000 funcref)
  (func (export "daee_turn") (result i32) (i32.const 0)))
