;; A memory whose most is less than its least.
;; run: reactor
;; codes: DAEE-A022
(module
  (memory (export "memory") 2 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
