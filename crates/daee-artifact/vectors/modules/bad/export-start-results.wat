;; A command that returns something.
;; run: per-event
;; codes: DAEE-A026
(module
  (memory (export "memory") 1)
  (func (export "_start") (result i32) (i32.const 0)))
