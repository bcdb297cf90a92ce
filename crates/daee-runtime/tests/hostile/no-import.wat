;; Imports what no node has.
;; expect: refused DAEE-A024
(module
  (import "env" "system" (func (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
