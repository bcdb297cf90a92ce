;; Asks for event after event.
;; run: resident
(module
  (import "daee" "call" (func $call (param i32 i32 i32 i32) (result i32)))
  (import "daee" "read" (func $read (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "event.next")
  (func (export "_start")
    (loop $next
      (br_if $next (i32.ge_s
        (call $call (i32.const 0) (i32.const 10) (i32.const 0) (i32.const 0))
        (i32.const 0))))))
