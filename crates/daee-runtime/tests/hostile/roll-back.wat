;; Asks for its turn to be rolled back.
;; expect: rolled back 7
(module
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32)
    (i32.store (i32.const 0) (i32.const 1))
    (i32.const 7)))
