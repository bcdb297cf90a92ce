;; Is no program.
;; style: resident
;; expect: refused DAEE-A026
(module
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
