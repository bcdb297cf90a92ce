;; Logs what would move the reader's cursor.
;; expect: done
(module
  (import "daee" "call" (func $call (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "log")
  (data (i32.const 256) "\26\00\00\00{\22text\22:\22\5cu001b[2J\5cr\5cn\5cu202e\5cu0000ok\22}")
  (func $must (param $found i32) (param $wanted i32)
    (if (i32.ne (local.get $found) (local.get $wanted)) (then (unreachable))))
  (func (export "daee_turn") (result i32)
    (call $must (call $call (i32.const 16) (i32.const 3) (i32.const 0x100) (i32.const 42)) (i32.const 6))
    (i32.const 0)))
