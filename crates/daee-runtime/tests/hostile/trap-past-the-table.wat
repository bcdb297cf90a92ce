;; Calls what no table holds.
;; expect: trap undefined element
(module
  (memory (export "memory") 1)
  (type $void (func))
  (table 1 funcref)
  (func (export "daee_turn") (result i32)
    (call_indirect (type $void) (i32.const -1))
    (i32.const 0)))
