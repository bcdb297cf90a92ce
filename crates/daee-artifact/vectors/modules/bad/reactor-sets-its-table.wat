;; A reactor that changes a table.
;; run: reactor
;; codes: DAEE-A028
(module
  (table 2 funcref)
  (func $f (table.set (i32.const 0) (ref.null func)))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
