;; Calls what a table does not hold.
;; expect: trap uninitialized
(module
  (memory (export "memory") 1)
  (type $void (func))
  (table 1 funcref)
  (func (export "daee_turn") (result i32)
    (call_indirect (type $void) (i32.const 0))
    (i32.const 0)))
