;; An initializer that takes something.
;; run: reactor
;; codes: DAEE-A026
(module
  (func (export "_initialize") (param i32))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
