;; Fills its memory, for ever: what a fill costs goes by its length.
;; expect: fuel
(module
  (memory (export "memory") 64)
  (func (export "daee_turn") (result i32)
    (loop (memory.fill (i32.const 0) (i32.const 7) (i32.const 0x400000)) (br 0))
    (i32.const 0)))
