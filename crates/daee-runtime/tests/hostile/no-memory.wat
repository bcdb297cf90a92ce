;; Exports no memory.
;; expect: refused DAEE-A026
(module
  (memory 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
