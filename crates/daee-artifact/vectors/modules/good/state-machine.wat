;; Code as Go leaves it: one loop around a table of blocks.
;; run: reactor
(module
  (global $pc (mut i32) (i32.const 0))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32)
    (local $pc i32)
    (loop $again
      (block $3 (block $2 (block $1 (block $0
        (br_table $0 $1 $2 $3 (local.get $pc)))
        (local.set $pc (i32.const 2)) (br $again))
        (local.set $pc (i32.const 3)) (br $again))
        (local.set $pc (i32.const 1)) (br $again))
      (global.set $pc (local.get $pc)))
    (i32.const 0)))
