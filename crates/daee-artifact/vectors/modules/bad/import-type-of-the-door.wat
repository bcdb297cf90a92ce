;; The door with other parameters.
;; run: reactor
;; codes: DAEE-A025 DAEE-A025
(module
  (import "daee" "call" (func (param i32 i32) (result i32)))
  (import "daee" "read" (func (param i32 i32)))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
