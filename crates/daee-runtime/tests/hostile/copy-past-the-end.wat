;; Copies from where nothing is.
;; expect: trap out of bounds
(module
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32)
    (memory.copy (i32.const 0) (i32.const 0xffff) (i32.const 2))
    (i32.const 0)))
