;; A value that is not there.
;; run: reactor
;; codes: DAEE-A022
(module
  (func (result i32) (i32.add (i32.const 1)))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
