;; Wants to be given a memory.
;; expect: refused DAEE-A024
(module
  (import "env" "memory" (memory 1))
  (export "memory" (memory 0))
  (func (export "daee_turn") (result i32) (i32.const 0)))
