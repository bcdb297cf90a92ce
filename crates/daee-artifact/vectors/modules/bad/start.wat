;; A start function.
;; run: reactor
;; codes: DAEE-A027
(module
  (func $f)
  (start $f)
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
