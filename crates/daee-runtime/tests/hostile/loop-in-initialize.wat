;; Never comes to its first turn.
;; expect: fuel
(module
  (memory (export "memory") 1)
  (func (export "_initialize") (loop (br 0)))
  (func (export "daee_turn") (result i32)
    (i32.const 0)))
