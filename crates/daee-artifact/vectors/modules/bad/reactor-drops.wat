;; A reactor that drops segments, and changes tables.
;; run: reactor
;; codes: DAEE-A028 DAEE-A028
(module
  (table 2 funcref)
  (func $f)
  (elem $e func $f)
  (data $d "x")
  (func $g (data.drop $d) (elem.drop $e) (table.init $e (i32.const 0) (i32.const 0) (i32.const 0)))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
