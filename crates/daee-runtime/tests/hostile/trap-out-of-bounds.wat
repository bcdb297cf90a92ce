;; Writes at the largest address with the largest offset.
;; expect: trap out of bounds
(module
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32)
    (i64.store offset=0xffffffff (i32.const -1) (i64.const 1))
    (i32.const 0)))
