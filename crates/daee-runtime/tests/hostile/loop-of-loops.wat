;; Loops in loops, none of which does anything.
;; expect: fuel
(module
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (local $n i32)
    (loop $a (loop $b (loop $c (loop $d
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $d (i32.and (local.get $n) (i32.const 0xff)))
      (br_if $c (i32.and (local.get $n) (i32.const 0xffff)))
      (br_if $b (local.get $n)) (br $a)))))
    (i32.const 0)))
