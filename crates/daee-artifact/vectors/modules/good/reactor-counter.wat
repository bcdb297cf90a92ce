;; Counts its turns in a global.
;; run: reactor
(module
  (global $turns (mut i64) (i64.const 0))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32)
    (global.set $turns (i64.add (global.get $turns) (i64.const 1)))
    (i32.const 0)))
