;; Has a table that starts with more than a node allows.
;; expect: refused DAEE-A023
(module
  (memory (export "memory") 1)
  (table 100001 funcref)
  (func (export "daee_turn") (result i32) (i32.const 0)))
