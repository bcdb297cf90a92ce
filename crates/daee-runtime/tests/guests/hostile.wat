;; Does the evil that the first byte of its event's body names. Byte 0 is a good turn: it counts in memory and in a
;; global, and answers with both.
(module
  (import "daee" "call" (func $call (param i32 i32 i32 i32) (result i32)))
  (import "daee" "read" (func $read (param i32 i32) (result i32)))
  (memory (export "memory") 4)
  (global $count (mut i64) (i64.const 0))
  (data (i32.const 16) "event.next")
  (data (i32.const 32) "event.answer")
  (data (i32.const 48) "log")
  (data (i32.const 64) "now")
  (data (i32.const 80) "state.set")
  (data (i32.const 96) "timer.set")
  (data (i32.const 112) "chain.publish")
  (data (i32.const 0x100) "\02\00\00\00{}")
  (data (i32.const 0x200) "\0e\00\00\00{\"text\":\"log\"}")
  (data (i32.const 0x240) "\0b\00\00\00{\"key\":\"k\"}value")
  (data (i32.const 0x280) "\1d\00\00\00{\"name\":\"t\",\"after_ms\":60000}")
  (data (i32.const 0x2c0) "\10\00\00\00{\"topic\":\"talk\"}")
  (func $answer
    (i32.store (i32.const 0x106) (i32.load (i32.const 0xf00)))
    (i64.store (i32.const 0x10a) (global.get $count))
    (drop (call $call (i32.const 32) (i32.const 12) (i32.const 0x100) (i32.const 18))))
  (func $deep (param i32) (result i32)
    (i32.add (i32.const 1) (call $deep (local.get 0))))
  (func (export "daee_turn") (result i32)
    (local $evil i32)
    (drop (call $call (i32.const 16) (i32.const 10) (i32.const 0) (i32.const 0)))
    (drop (call $read (i32.const 0x1000) (i32.const 0x1000)))
    (local.set $evil (i32.load8_u (i32.add (i32.const 0x1004) (i32.load (i32.const 0x1000)))))
    ;; Every turn writes: a bad one must leave nothing of it.
    (i32.store (i32.const 0xf00) (i32.add (i32.load (i32.const 0xf00)) (i32.const 1)))
    (i32.store (i32.const 0x20000) (local.get $evil))
    (global.set $count (i64.add (global.get $count) (i64.const 1)))
    (if (i32.ne (local.get $evil) (i32.const 0)) (then
      (drop (call $call (i32.const 80) (i32.const 9) (i32.const 0x240) (i32.const 20)))
      (drop (call $call (i32.const 96) (i32.const 9) (i32.const 0x280) (i32.const 33)))
      (drop (call $call (i32.const 112) (i32.const 13) (i32.const 0x2c0) (i32.const 20)))))
    (call $answer)
    (if (i32.eq (local.get $evil) (i32.const 1)) (then (loop (br 0))))
    (if (i32.eq (local.get $evil) (i32.const 2)) (then (unreachable)))
    (if (i32.eq (local.get $evil) (i32.const 3)) (then (drop (call $deep (i32.const 0)))))
    (if (i32.eq (local.get $evil) (i32.const 5)) (then
      (loop $grow
        (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (unreachable)))
        (i32.store (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 4)) (i32.const 7))
        (br $grow))))
    (if (i32.eq (local.get $evil) (i32.const 6)) (then
      (loop $fill
        (memory.fill (i32.const 0x20000) (i32.const 1) (i32.const 0x20000))
        (br $fill))))
    (if (i32.eq (local.get $evil) (i32.const 7)) (then
      (loop $log
        (drop (call $call (i32.const 48) (i32.const 3) (i32.const 0x200) (i32.const 18)))
        (br $log))))
    (if (i32.eq (local.get $evil) (i32.const 8)) (then
      (loop $now
        (drop (call $call (i32.const 64) (i32.const 3) (i32.const 0) (i32.const 0)))
        (br $now))))
    (if (i32.eq (local.get $evil) (i32.const 9)) (then (return (i32.const 9))))
    (if (i32.eq (local.get $evil) (i32.const 10)) (then
      (drop (i32.div_u (i32.const 1) (i32.const 0)))))
    (if (i32.eq (local.get $evil) (i32.const 11)) (then
      (i32.store (i32.const 0x7fffffff) (i32.const 1))))
    (if (i32.eq (local.get $evil) (i32.const 12)) (then
      (i32.store offset=0xffffffff (i32.const 0xffffffff) (i32.const 1))))
    (if (i32.eq (local.get $evil) (i32.const 13)) (then
      (loop $read
        (drop (call $read (i32.const 0x2000) (i32.const 0x1000)))
        (br $read))))
    (i32.const 0)))
