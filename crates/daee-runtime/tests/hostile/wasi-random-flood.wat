;; Fills its memory with random bytes, for ever.
;; style: per-event
;; expect: fuel
(module
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (loop (drop (call $random_get (i32.const 0) (i32.const 0x10000))) (br 0))
  ))
