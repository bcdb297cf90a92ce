;; Asks for memory, for ever, and never mind the answer.
;; expect: fuel
(module
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32)
    (loop (drop (memory.grow (i32.const 1))) (br 0))
    (i32.const 0)))
