;; Grows its memory and looks at the answer.
;; run: reactor
(module
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32)
    (i32.eq (memory.grow (i32.const 1)) (i32.const -1))))
