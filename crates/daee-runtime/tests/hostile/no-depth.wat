;; Has blocks in blocks, one more than may be.
;; expect: refused DAEE-A023
;; many: 50001 block
;; more: 50001 end
(module
  (memory (export "memory") 1)
  (func $$many $$more)
  (func (export "daee_turn") (result i32) (i32.const 0)))
