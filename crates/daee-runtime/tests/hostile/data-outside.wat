;; Has data outside of its memory.
;; expect: not started DAEE-R020
(module
  (memory (export "memory") 1)
  (data (i32.const 0xffff) "xy")
  (func (export "daee_turn") (result i32) (i32.const 0)))
