;; The memory under another name.
;; run: reactor
;; codes: DAEE-A026
(module
  (memory (export "mem") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
