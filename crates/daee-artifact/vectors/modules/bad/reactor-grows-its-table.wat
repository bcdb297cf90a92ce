;; A reactor that makes a table larger.
;; run: reactor
;; codes: DAEE-A028
(module
  (table 2 funcref)
  (func $f (drop (table.grow (ref.null func) (i32.const 1))))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
