;; Prints, for ever.
;; style: per-event
;; expect: fuel
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (memory.fill (i32.const 0x100) (i32.const 0x78) (i32.const 0x4000))
    (i64.store (i32.const 0) (i64.const 0x4000_00000100))
    (loop
      (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 0x80)))
      (br 0))
  ))
