;; Starts without a page.
;; run: reactor
(module
  (memory (export "memory") 0)
  (func (export "daee_turn") (result i32) (i32.const 0)))
