;; An imported global.
;; run: reactor
;; codes: DAEE-A024
(module
  (import "GOT.mem" "base" (global (mut i32)))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
