;; Waits for 4 billion things, and for nothing.
;; style: per-event
;; expect: done
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func $must (param $found i32) (param $wanted i32)
    (if (i32.ne (local.get $found) (local.get $wanted)) (then (unreachable))))
  (func (export "_start")
    (call $must (call $poll_oneoff (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 0)) (i32.const 28))
    (call $must (call $poll_oneoff (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)) (i32.const 28))
  ))
