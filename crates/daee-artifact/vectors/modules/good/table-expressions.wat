;; Elements written as expressions.
;; run: reactor
(module
  (table 3 funcref)
  (func $f)
  (elem (table 0) (i32.const 0) funcref (ref.func $f) (ref.null func) (ref.func $f))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
