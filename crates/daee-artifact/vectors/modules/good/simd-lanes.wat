;; Loads and stores of lanes.
;; run: reactor
(module
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32)
    (local $v v128)
    (local.set $v (v128.load8_splat (i32.const 0)))
    (local.set $v (v128.load32_lane 2 (i32.const 16) (local.get $v)))
    (v128.store64_lane 1 (i32.const 32) (local.get $v))
    (v128.store align=1 (i32.const 48) (v128.bitselect (local.get $v) (v128.load64_zero (i32.const 8)) (local.get $v)))
    (i32.const 0)))
