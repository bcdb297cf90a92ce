;; Imports a socket.
;; expect: refused DAEE-A024
(module
  (import "wasi_snapshot_preview1" "sock_open" (func (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
