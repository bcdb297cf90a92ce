;; Conversions that do not trap.
;; run: reactor
(module
  (func $clip (param f64 f32) (result i64)
    (i64.add
      (i64.trunc_sat_f64_u (local.get 0))
      (i64.extend_i32_s (i32.trunc_sat_f32_s (local.get 1)))))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
