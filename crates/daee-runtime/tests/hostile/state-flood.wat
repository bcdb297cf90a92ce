;; Sets values until its quota is used up.
;; expect: done
(module
  (import "daee" "call" (func $call (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "state.set")
  (data (i32.const 256) "\0b\00\00\00{\22key\22:\22k\22}")
  (func $must (param $found i32) (param $wanted i32)
    (if (i32.ne (local.get $found) (local.get $wanted)) (then (unreachable))))
  (func (export "daee_turn") (result i32) (local $n i32) (local $found i32)
    (loop $set
      (i32.store8 (i32.const 0x10c) (i32.add (i32.const 35) (local.get $n)))
      (local.set $found (call $call (i32.const 16) (i32.const 9) (i32.const 0x100) (i32.const 4096)))
      (br_if $set (i32.and
        (i32.eq (local.get $found) (i32.const 6))
        (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 50)))))
    (call $must (local.get $found) (i32.const -4))
    (i32.const 0)))
