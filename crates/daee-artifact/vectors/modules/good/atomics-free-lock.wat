;; A lock of one thread, by plain loads and stores.
;; run: reactor
(module
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32)
    (if (i32.load (i32.const 0)) (then (return (i32.const 1))))
    (i32.store (i32.const 0) (i32.const 1))
    (i32.store8 offset=4 (i32.const 0) (i32.load16_u (i32.const 8)))
    (i32.store (i32.const 0) (i32.const 0))
    (i32.const 0)))
