;; Preview 2 in a core module.
;; run: reactor
;; codes: DAEE-A024
(module
  (import "wasi:clocks/wall-clock@0.2.0" "now" (func (param i32)))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
