;; A local that does not exist.
;; run: reactor
;; codes: DAEE-A022
(module
  (func (drop (local.get 3)))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
