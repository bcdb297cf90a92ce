;; As many elements as there may be.
;; run: reactor
(module
  (table 100000 funcref)
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
