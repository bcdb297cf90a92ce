;; Fills and copies.
;; run: reactor
(module
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32)
    (memory.fill (i32.const 0) (i32.const 7) (i32.const 4096))
    (memory.copy (i32.const 8192) (i32.const 0) (i32.const 4096))
    (i32.const 0)))
