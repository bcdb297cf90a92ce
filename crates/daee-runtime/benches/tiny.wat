;; Takes its event and answers `ok`: two operations and one page of memory that changes.
(module
  (import "daee" "call" (func $call (param i32 i32 i32 i32) (result i32)))
  (import "daee" "read" (func $read (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "event.next")
  (data (i32.const 32) "event.answer")
  (data (i32.const 64) "\02\00\00\00{}ok")
  (func (export "daee_turn") (result i32)
    (drop (call $call (i32.const 16) (i32.const 10) (i32.const 0) (i32.const 0)))
    (drop (call $read (i32.const 0x1000) (i32.const 0x1000)))
    (drop (call $call (i32.const 32) (i32.const 12) (i32.const 64) (i32.const 8)))
    (i32.const 0)))
