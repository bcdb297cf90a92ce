;; Speaks JSON lines. For each event, which it logs as it came, it prints its arguments, a line each; behind one
;; that begins with ">", which is not printed, it waits for an answer and logs that.
(module
  (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (func $print (param $fd i32) (param $at i32) (param $len i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $len))
    (drop (call $write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func $hear
    (i32.store (i32.const 0) (i32.const 0x20000))
    (i32.store (i32.const 4) (i32.const 0x10000))
    (if (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
    (call $print (i32.const 2) (i32.const 0x20000) (i32.load (i32.const 8))))
  (func $end (param $at i32) (result i32)
    (loop $next
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.load8_u (local.get $at))))
    (local.get $at))
  (func (export "_start") (local $n i32) (local $at i32) (local $end i32) (local $waits i32)
    (drop (call $args_sizes (i32.const 16) (i32.const 20)))
    (drop (call $args (i32.const 0x1000) (i32.const 0x2000)))
    (loop $events
      (call $hear)
      (local.set $n (i32.const 1))
      (loop $lines
        (if (i32.lt_u (local.get $n) (i32.load (i32.const 16)))
          (then
            (local.set $at
              (i32.load (i32.add (i32.const 0x1000) (i32.mul (local.get $n) (i32.const 4)))))
            (local.set $end (call $end (local.get $at)))
            (local.set $waits (i32.eq (i32.load8_u (local.get $at)) (i32.const 62)))
            (local.set $at (i32.add (local.get $at) (local.get $waits)))
            ;; In two halves, as they may come.
            (call $print (i32.const 1) (local.get $at) (i32.const 1))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (i32.store8 (local.get $end) (i32.const 10))
            (call $print (i32.const 1) (local.get $at)
              (i32.add (i32.sub (local.get $end) (local.get $at)) (i32.const 1)))
            (i32.store8 (local.get $end) (i32.const 0))
            (if (local.get $waits) (then (call $hear)))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br $lines))))
      (br $events))))
