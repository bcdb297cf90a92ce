;; More pages than 4 GiB.
;; run: reactor
;; codes: DAEE-A022
(module
  (memory (export "memory") 65537)
  (func (export "daee_turn") (result i32) (i32.const 0)))
