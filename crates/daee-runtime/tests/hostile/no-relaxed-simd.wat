;; Adds as the processor likes, a feature that nodes do not have.
;; expect: refused DAEE-A022
(module
  (memory (export "memory") 1)
  (func (param v128 v128 v128) (result v128)
    (f32x4.relaxed_madd (local.get 0) (local.get 1) (local.get 2)))
  (func (export "daee_turn") (result i32) (i32.const 0)))
