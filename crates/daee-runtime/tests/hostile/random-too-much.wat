;; Asks for more random bytes than a call may have.
;; expect: done
(module
  (import "daee" "call" (func $call (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "random")
  (data (i32.const 256) "\0e\00\00\00{\22bytes\22:4097}")
  (data (i32.const 288) "\1e\00\00\00{\22bytes\22:99999999999999999999}")
  (func $must (param $found i32) (param $wanted i32)
    (if (i32.ne (local.get $found) (local.get $wanted)) (then (unreachable))))
  (func (export "daee_turn") (result i32)
    (call $must (call $call (i32.const 16) (i32.const 6) (i32.const 0x100) (i32.const 18)) (i32.const -4))
    (call $must (call $call (i32.const 16) (i32.const 6) (i32.const 0x120) (i32.const 34)) (i32.const -3))
    (i32.const 0)))
