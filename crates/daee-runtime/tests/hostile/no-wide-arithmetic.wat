;; Adds 128 bits, a feature that nodes do not have.
;; expect: refused DAEE-A022
(module
  (memory (export "memory") 1)
  (func (param i64 i64 i64 i64) (result i64 i64)
    (i64.add128 (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
  (func (export "daee_turn") (result i32) (i32.const 0)))
