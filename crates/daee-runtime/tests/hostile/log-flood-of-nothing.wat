;; Logs empty lines, which cost as well.
;; expect: fuel
(module
  (import "daee" "call" (func $call (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "log")
  (data (i32.const 256) "\0b\00\00\00{\22text\22:\22\22}")
  (func (export "daee_turn") (result i32)
    (loop
      (drop (call $call (i32.const 16) (i32.const 3) (i32.const 0x100) (i32.const 15)))
      (br 0))
    (i32.const 0)))
