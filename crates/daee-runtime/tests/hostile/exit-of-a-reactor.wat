;; Ends the program, of which a reactor has none.
;; expect: exited 3
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32)
    (call $proc_exit (i32.const 3))
    (i32.const 0)))
