;; Has elements outside of its table.
;; expect: not started DAEE-R020
(module
  (memory (export "memory") 1)
  (table 1 funcref)
  (func $f)
  (elem (i32.const 1) $f)
  (func (export "daee_turn") (result i32) (i32.const 0)))
