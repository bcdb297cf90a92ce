;; A function of WASI that is not served.
;; run: reactor
;; codes: DAEE-A024
(module
  (import "wasi_snapshot_preview1" "path_unlink_file" (func (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
