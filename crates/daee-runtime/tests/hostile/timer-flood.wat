;; Sets one timer more than may be pending.
;; expect: done
(module
  (import "daee" "call" (func $call (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "timer.set")
  (data (i32.const 256) "\1d\00\00\00{\22name\22:\22xx\22,\22after_ms\22:1000}")
  (func $must (param $found i32) (param $wanted i32)
    (if (i32.ne (local.get $found) (local.get $wanted)) (then (unreachable))))
  (func (export "daee_turn") (result i32) (local $n i32)
    (loop
      (i32.store8 (i32.const 0x10d) (i32.add (i32.const 65) (i32.shr_u (local.get $n) (i32.const 4))))
      (i32.store8 (i32.const 0x10e) (i32.add (i32.const 65) (i32.and (local.get $n) (i32.const 15))))
      (call $must
        (call $call (i32.const 16) (i32.const 9) (i32.const 0x100) (i32.const 33))
        (select (i32.const -4) (i32.const 6) (i32.eq (local.get $n) (i32.const 64))))
      (br_if 0 (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 65))))
    (i32.const 0)))
