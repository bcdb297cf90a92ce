;; An entry and no memory.
;; run: reactor
;; codes: DAEE-A026
(module (func (export "daee_turn") (result i32) (i32.const 0)))
