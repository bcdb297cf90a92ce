;; Makes a whole number of none.
;; expect: trap invalid conversion
(module
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32)
    (drop (i64.trunc_f64_s (f64.const nan)))
    (i32.const 0)))
