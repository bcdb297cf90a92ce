;; Numbers that are none.
;; run: reactor
(module
  (func $odd (param f64) (result f64)
    (f64.copysign
      (f64.sqrt (f64.sub (f64.const nan) (f64.nearest (local.get 0))))
      (f64.promote_f32 (f32.const -inf))))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
