;; Fails before its first turn, each time.
;; expect: trap unreachable
(module
  (memory (export "memory") 1)
  (func (export "_initialize") (unreachable))
  (func (export "daee_turn") (result i32)
    (i32.const 0)))
