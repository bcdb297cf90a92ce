;; An alignment larger than what is loaded.
;; run: reactor
;; codes: DAEE-A022
(module
  (func (drop (i32.load align=8 (i32.const 0))))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
