;; Changes its table, which no checkpoint keeps.
;; expect: refused DAEE-A028
(module
  (memory (export "memory") 1)
  (table 1 funcref)
  (func (export "change") (table.set (i32.const 0) (ref.null func)))
  (func (export "daee_turn") (result i32) (i32.const 0)))
