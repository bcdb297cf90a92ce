;; Keeps thousands of values on the stack in each call of itself.
;; expect: stack
;; many: 4000 (i64.load8_u offset=# (local.get $at))
;; more: 4000 (i64.xor)
(module
  (memory (export "memory") 1)
  (func $deep (param $at i32) (result i64)
    $$many
    (call $deep (i32.and (i32.add (local.get $at) (i32.const 1)) (i32.const 0xff)))
    $$more)
  (func (export "daee_turn") (result i32)
    (drop (call $deep (i32.const 0)))
    (i32.const 0)))
