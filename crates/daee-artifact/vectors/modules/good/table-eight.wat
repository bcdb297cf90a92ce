;; As many tables as there may be.
;; run: reactor
(module
  (table $t0 1 funcref)
  (table $t1 2 funcref)
  (table $t2 3 funcref)
  (table $t3 4 funcref)
  (table $t4 5 funcref)
  (table $t5 6 funcref)
  (table $t6 7 funcref)
  (table $t7 8 funcref)
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
