;; Writes to a constant.
;; run: reactor
;; codes: DAEE-A022
(module
  (global $g i32 (i32.const 1))
  (func (global.set $g (i32.const 2)))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
