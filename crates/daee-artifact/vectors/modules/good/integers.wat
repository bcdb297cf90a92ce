;; Divisions, rotations, counts.
;; run: reactor
(module
  (func $grind (param i64 i64) (result i64)
    (i64.xor
      (i64.rotl (i64.div_s (local.get 0) (i64.or (local.get 1) (i64.const 1))) (i64.const 13))
      (i64.popcnt (i64.clz (i64.rem_u (local.get 0) (i64.const 97))))))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
