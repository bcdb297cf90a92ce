;; A function with three results.
;; run: reactor
(module
  (func $divide (param i32 i32) (result i32 i32 i32)
    (i32.div_u (local.get 0) (local.get 1))
    (i32.rem_u (local.get 0) (local.get 1))
    (i32.const 1))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32)
    (call $divide (i32.const 17) (i32.const 5))
    (drop) (drop) (drop)
    (i32.const 0)))
