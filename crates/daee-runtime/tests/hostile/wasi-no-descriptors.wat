;; Uses descriptors that are not there.
;; style: per-event
;; expect: done
(module
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_seek" (func $fd_seek (param i32 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $fd_prestat_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_dir_name" (func $fd_prestat_dir_name (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $fd_fdstat_get (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func $must (param $found i32) (param $wanted i32)
    (if (i32.ne (local.get $found) (local.get $wanted)) (then (unreachable))))
  (func (export "_start")
    (call $must (call $fd_close (i32.const 99)) (i32.const 8))
    (call $must (call $fd_close (i32.const -1)) (i32.const 8))
    (call $must (call $fd_write (i32.const 99) (i32.const 0) (i32.const 0) (i32.const 0)) (i32.const 8))
    (call $must (call $fd_read (i32.const -1) (i32.const 0) (i32.const 0) (i32.const 0)) (i32.const 8))
    (call $must (call $fd_seek (i32.const 77) (i64.const -1) (i32.const 0) (i32.const 0)) (i32.const 8))
    (call $must (call $fd_prestat_get (i32.const 99) (i32.const 0)) (i32.const 8))
    (call $must (call $fd_prestat_dir_name (i32.const -1) (i32.const 0) (i32.const -1)) (i32.const 8))
    (call $must (call $fd_fdstat_get (i32.const 0x7fffffff) (i32.const 0)) (i32.const 8))
  ))
