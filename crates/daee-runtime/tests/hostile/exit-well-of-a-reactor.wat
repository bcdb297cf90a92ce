;; Ends with code 0 in the middle of a turn.
;; expect: exited 0
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32)
    (i32.store (i32.const 0) (i32.const 1))
    (call $proc_exit (i32.const 0))
    (i32.const 0)))
