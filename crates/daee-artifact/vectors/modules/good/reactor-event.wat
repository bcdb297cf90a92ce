;; Asks for its event and answers it, as an SDK does.
;; run: reactor
(module
  (import "daee" "call" (func $call (param i32 i32 i32 i32) (result i32)))
  (import "daee" "read" (func $read (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 16) "event.next" "event.answer" "\0e\00\00\00{\22status\22:200}ok")
  (func (export "daee_turn") (result i32)
    (local $len i32)
    (local.set $len (call $call (i32.const 16) (i32.const 10) (i32.const 0) (i32.const 0)))
    (if (i32.lt_s (local.get $len) (i32.const 0)) (then (return (i32.const 1))))
    (drop (call $read (i32.const 1024) (i32.const 4096)))
    (i32.lt_s
      (call $call (i32.const 26) (i32.const 12) (i32.const 38) (i32.const 20))
      (i32.const 0))))
