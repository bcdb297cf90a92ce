;; Imports the door with one parameter less.
;; expect: refused DAEE-A025
(module
  (import "daee" "call" (func (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
