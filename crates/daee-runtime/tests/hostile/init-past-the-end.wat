;; Copies more than a segment has.
;; expect: trap out of bounds
(module
  (memory (export "memory") 1)
  (data $segment "12345678")
  (func (export "daee_turn") (result i32)
    (memory.init $segment (i32.const 0) (i32.const 0) (i32.const 9))
    (i32.const 0)))
