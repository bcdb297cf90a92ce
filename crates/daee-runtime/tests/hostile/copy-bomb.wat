;; Moves its memory onto itself, for ever.
;; expect: fuel
(module
  (memory (export "memory") 64)
  (func (export "daee_turn") (result i32)
    (loop (memory.copy (i32.const 1) (i32.const 0) (i32.const 0x3ffff0)) (br 0))
    (i32.const 0)))
