;; Shares its memory, a feature that nodes do not have.
;; expect: refused DAEE-A022
(module
  (memory (export "memory") 1 1 shared)
  (func (export "daee_turn") (result i32) (i32.const 0)))
