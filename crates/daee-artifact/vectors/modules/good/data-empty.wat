;; Segments without a byte.
;; run: reactor
(module
  (memory (export "memory") 1)
  (data (i32.const 0) "")
  (data "")
  (func (export "daee_turn") (result i32) (i32.const 0)))
