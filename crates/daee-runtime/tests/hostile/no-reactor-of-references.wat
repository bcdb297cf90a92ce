;; Keeps a reference, which no checkpoint does.
;; expect: refused DAEE-A028
(module
  (memory (export "memory") 1)
  (global (mut externref) (ref.null extern))
  (func (export "daee_turn") (result i32) (i32.const 0)))
