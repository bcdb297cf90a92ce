;; Waits until the clock goes on, which it does not.
;; style: per-event
;; expect: fuel
(module
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 0)))
    (loop
      (drop (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 8)))
      (br_if 0 (i64.eq (i64.load (i32.const 0)) (i64.load (i32.const 8)))))
  ))
