;; Has one type more than a module may.
;; expect: refused DAEE-A023
;; many: 10001 (type (func (param i32)))
(module
  $$many
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
