;; Sets under keys that are none, and a value that is too large.
;; expect: done
;; text: 513 k
(module
  (import "daee" "call" (func $call (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 32)
  (data (i32.const 16) "state.set")
  (data (i32.const 256) "\0a\00\00\00{\22key\22:\22\22}")
  (data (i32.const 320) "\0b\00\00\00{\22key\22:\22k\22}")
  (data (i32.const 4096) "\0b\02\00\00{\22key\22:\22$$text\22}")
  (func $must (param $found i32) (param $wanted i32)
    (if (i32.ne (local.get $found) (local.get $wanted)) (then (unreachable))))
  (func (export "daee_turn") (result i32)
    (call $must (call $call (i32.const 16) (i32.const 9) (i32.const 0x100) (i32.const 14)) (i32.const -3))
    (call $must (call $call (i32.const 16) (i32.const 9) (i32.const 0x1000) (i32.const 527)) (i32.const -3))
    (call $must (call $call (i32.const 16) (i32.const 9) (i32.const 0x140) (i32.const 0x100100)) (i32.const -4))
    (i32.const 0)))
