;; Throws, a feature that nodes do not have.
;; expect: refused DAEE-A022
(module
  (memory (export "memory") 1)
  (tag $t)
  (func (throw $t))
  (func (export "daee_turn") (result i32) (i32.const 0)))
