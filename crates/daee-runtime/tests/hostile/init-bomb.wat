;; Copies a segment, for ever.
;; expect: fuel
;; text: 4096 12345678
(module
  (memory (export "memory") 1)
  (data $segment "$$text")
  (func (export "daee_turn") (result i32)
    (loop (memory.init $segment (i32.const 0) (i32.const 0) (i32.const 32768)) (br 0))
    (i32.const 0)))
