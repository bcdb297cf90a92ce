;; A table of more elements than there may be.
;; run: reactor
;; codes: DAEE-A023
(module
  (table 100001 funcref)
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
