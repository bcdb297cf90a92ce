;; Publishes more than may wait to be published.
;; expect: done
(module
  (import "daee" "call" (func $call (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "chain.publish")
  (data (i32.const 256) "\0d\00\00\00{\22topic\22:\22t\22}x")
  (func $must (param $found i32) (param $wanted i32)
    (if (i32.ne (local.get $found) (local.get $wanted)) (then (unreachable))))
  (func (export "daee_turn") (result i32) (local $n i32)
    (loop
      (call $must
        (call $call (i32.const 16) (i32.const 13) (i32.const 0x100) (i32.const 18))
        (select (i32.const -4) (i32.const 6) (i32.eq (local.get $n) (i32.const 64))))
      (br_if 0 (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 65))))
    (i32.const 0)))
