;; Has a function of more than 1 MiB.
;; expect: refused DAEE-A023
;; many: 1048577 (nop)
(module
  (memory (export "memory") 1)
  (func $$many)
  (func (export "daee_turn") (result i32) (i32.const 0)))
