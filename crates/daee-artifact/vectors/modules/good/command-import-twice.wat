;; The same import twice, as linked objects may have it.
;; run: resident
(module
  (import "daee" "read" (func (param i32 i32) (result i32)))
  (import "daee" "read" (func $read (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")))
