;; Fills past the end of its memory.
;; expect: trap out of bounds
(module
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32)
    (memory.fill (i32.const 0xfff0) (i32.const 1) (i32.const 17))
    (i32.const 0)))
