;; An imported table.
;; run: reactor
;; codes: DAEE-A024
(module
  (import "env" "table" (table 1 funcref))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
