;; Asks for events and never answers one.
;; style: resident
;; expect: done
(module
  (import "daee" "call" (func $call (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "event.next")
  (func (export "_start")
    (loop
      (drop (call $call (i32.const 16) (i32.const 10) (i32.const 0) (i32.const 0)))
      (br 0))
  ))
