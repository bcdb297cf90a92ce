;; A call of a function that does not exist.
;; run: reactor
;; codes: DAEE-A022
(module
  (func (call 99))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
