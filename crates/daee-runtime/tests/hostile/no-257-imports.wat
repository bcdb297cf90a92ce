;; Imports the door 257 times.
;; expect: refused DAEE-A023
;; many: 257 (import "daee" "read" (func (param i32 i32) (result i32)))
(module
  $$many
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
