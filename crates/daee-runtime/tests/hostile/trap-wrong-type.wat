;; Calls a function as what it is not.
;; expect: trap indirect call type mismatch
(module
  (memory (export "memory") 1)
  (type $void (func))
  (table 1 funcref)
  (elem (i32.const 0) $other)
  (func $other (param i64))
  (func (export "daee_turn") (result i32)
    (call_indirect (type $void) (i32.const 0))
    (i32.const 0)))
