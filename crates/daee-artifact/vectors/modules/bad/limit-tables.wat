;; Nine tables.
;; run: reactor
;; codes: DAEE-A023
(module
  (table 1 funcref)
  (table 1 funcref)
  (table 1 funcref)
  (table 1 funcref)
  (table 1 funcref)
  (table 1 funcref)
  (table 1 funcref)
  (table 1 funcref)
  (table 1 funcref)
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
