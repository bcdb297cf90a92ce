;; Has one segment more than a module may.
;; expect: refused DAEE-A023
;; many: 100001 (data "")
(module
  (memory (export "memory") 1)
  $$many
  (func (export "daee_turn") (result i32) (i32.const 0)))
