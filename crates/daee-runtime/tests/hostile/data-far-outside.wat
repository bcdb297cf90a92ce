;; Has data at the last address there is.
;; expect: not started DAEE-R020
(module
  (memory (export "memory") 1)
  (data (i32.const -1) "x")
  (func (export "daee_turn") (result i32) (i32.const 0)))
