;; A function that WASI does not have.
;; run: reactor
;; codes: DAEE-A024
(module
  (import "wasi_snapshot_preview1" "fd_dup" (func (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
