;; Takes a passive segment and does not drop it.
;; run: reactor
(module
  (data $text "a passive segment")
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32)
    (memory.init $text (i32.const 0) (i32.const 2) (i32.const 7))
    (i32.const 0)))
