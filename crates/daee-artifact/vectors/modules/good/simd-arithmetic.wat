;; Vectors of integers and floats.
;; run: reactor
(module
  (func $mix (param v128 v128) (result v128)
    (f32x4.add
      (f32x4.convert_i32x4_s (i32x4.mul (local.get 0) (local.get 1)))
      (f32x4.max (local.get 0) (local.get 1))))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
