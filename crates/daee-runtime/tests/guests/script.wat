;; Does what the body of its event says: `u32 length, operation, u32 length, input`, over and over. Answers with
;; `i32 returned, u32 length, answer` for each.
(module
  (import "daee" "call" (func $call (param i32 i32 i32 i32) (result i32)))
  (import "daee" "read" (func $read (param i32 i32) (result i32)))
  (memory (export "memory") 64)
  (data (i32.const 16) "event.next")
  (data (i32.const 32) "event.answer")
  ;; The frame of the answer: an empty head, and the body behind it.
  (data (i32.const 0x200000) "\02\00\00\00{}")
  (func (export "daee_turn") (result i32)
    (local $at i32) (local $end i32) (local $out i32) (local $op i32) (local $op_len i32)
    (drop (call $call (i32.const 16) (i32.const 10) (i32.const 0) (i32.const 0)))
    (local.set $end (i32.add (i32.const 0x1000) (call $read (i32.const 0x1000) (i32.const 0x1ff000))))
    (local.set $at (i32.add (i32.const 0x1004) (i32.load (i32.const 0x1000))))
    (local.set $out (i32.const 0x200006))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        (local.set $op_len (i32.load (local.get $at)))
        (local.set $op (i32.add (local.get $at) (i32.const 4)))
        (local.set $at (i32.add (local.get $op) (local.get $op_len)))
        (i32.store (local.get $out)
          (call $call (local.get $op) (local.get $op_len)
            (i32.add (local.get $at) (i32.const 4)) (i32.load (local.get $at))))
        (i32.store offset=4 (local.get $out)
          (call $read (i32.add (local.get $out) (i32.const 8)) (i32.const 0x180000)))
        (local.set $out (i32.add (i32.add (local.get $out) (i32.const 8)) (i32.load offset=4 (local.get $out))))
        (local.set $at (i32.add (i32.add (local.get $at) (i32.const 4)) (i32.load (local.get $at))))
        (br $next)))
    (drop (call $call (i32.const 32) (i32.const 12) (i32.const 0x200000)
      (i32.sub (local.get $out) (i32.const 0x200000))))
    (i32.const 0)))
