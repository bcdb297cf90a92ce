;; Calls itself with frames larger than the guard behind the stack.
;; expect: stack
;; many: 2000 (local.set $sum (i64.xor (local.get $sum) (call $deep (i64.add (local.get $sum) (i64.const #)))))
(module
  (memory (export "memory") 1)
  (func $deep (param $sum i64) (result i64)
    (local $a i64)
    (local.set $a (i64.mul (local.get $sum) (i64.const 3)))
    $$many
    (i64.xor (local.get $sum) (local.get $a)))
  (func (export "daee_turn") (result i32)
    (drop (call $deep (i64.const 7)))
    (i32.const 0)))
