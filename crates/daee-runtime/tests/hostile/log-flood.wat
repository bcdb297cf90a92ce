;; Logs more than a turn may, and lives.
;; expect: done
(module
  (import "daee" "call" (func $call (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "log")
  (data (i32.const 256) "\0e\00\00\00{\22text\22:\22log\22}")
  (func (export "daee_turn") (result i32) (local $n i32)
    (local.set $n (i32.const 1900))
    (loop
      (drop (call $call (i32.const 16) (i32.const 3) (i32.const 0x100) (i32.const 18)))
      (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i32.const 0)))
