;; Has an entry that takes a parameter.
;; expect: refused DAEE-A026
(module
  (memory (export "memory") 1)
  (func (export "daee_turn") (param i32) (result i32) (local.get 0)))
