;; Has a branch with 65,000 targets: it loads within the bounds of compiling.
;; expect: done
;; many: 65000 $out
(module
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32)
    (block $out (br_table $$many $out (i32.const 7)))
    (i32.const 0)))
