;; Drops a segment, which no checkpoint keeps.
;; expect: refused DAEE-A028
(module
  (memory (export "memory") 1)
  (data $segment "x")
  (func (export "change") (data.drop $segment))
  (func (export "daee_turn") (result i32) (i32.const 0)))
