;; Appends what it reads to a file and prints the file, as often as there is something to read.
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pread" (func $pread (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 32) "notes")
  (func $vector (param $len i32)
    (i32.store (i32.const 0) (i32.const 0x1000))
    (i32.store (i32.const 4) (local.get $len)))
  (func $must (param $errno i32) (if (local.get $errno) (then unreachable)))
  (func (export "_start")
    ;; To read and write, made if it is not there, at the end.
    (call $must (call $open (i32.const 3) (i32.const 0) (i32.const 32) (i32.const 5)
      (i32.const 1) (i64.const 0x42) (i64.const 0) (i32.const 1) (i32.const 16)))
    (block $done (loop $more
      (call $vector (i32.const 0x1000))
      (call $must (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
      (br_if $done (i32.eqz (i32.load (i32.const 8))))
      (call $vector (i32.load (i32.const 8)))
      (call $must
        (call $write (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 8)))
      (call $vector (i32.const 0x2000))
      (call $must
        (call $pread (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i64.const 0) (i32.const 8)))
      (call $vector (i32.load (i32.const 8)))
      (call $must (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
      (br $more)))))
