;; Two exports of one name.
;; run: reactor
;; codes: DAEE-A022
(module
  (func (export "f"))
  (func (export "f"))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
