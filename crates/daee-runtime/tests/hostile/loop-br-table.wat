;; Goes round by a table of branches.
;; expect: fuel
(module
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (local $n i32)
    (loop $round
      (block $out
        (br_table $round $round $out $round (i32.and (local.get $n) (i32.const 1)))))
    (i32.const 0)))
