;; A reactor with a mutable reference.
;; run: reactor
;; codes: DAEE-A028
(module
  (global (mut funcref) (ref.null func))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
