;; Writes 4 billion vectors, each of which is all of the memory.
;; style: per-event
;; expect: done
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start") (local $at i32)
    (loop
      (i64.store (local.get $at) (i64.const 0x10000_00000000))
      (br_if 0 (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 8))) (i32.const 0x10000))))
    (i64.store (i32.const 0x8) (i64.const 0))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const -1) (i32.const 0xfff0)))
    (drop (call $fd_write (i32.const 2) (i32.const 0xff00) (i32.const 0x20) (i32.const 0)))
    (if (i32.gt_u (i32.load (i32.const 0xfff0)) (i32.const 0x100000)) (then (unreachable)))
  ))
