;; Calls by reference, a feature that nodes do not have.
;; expect: refused DAEE-A022
(module
  (memory (export "memory") 1)
  (type $f (func))
  (func (param (ref $f)) (call_ref $f (local.get 0)))
  (func (export "daee_turn") (result i32) (i32.const 0)))
