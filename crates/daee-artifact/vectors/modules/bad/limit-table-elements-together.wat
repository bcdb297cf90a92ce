;; Two tables of more than that together.
;; run: reactor
;; codes: DAEE-A023
(module
  (table 50001 funcref)
  (table 50000 funcref)
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
