;; Has addresses of 64 bits, a feature that nodes do not have.
;; expect: refused DAEE-A022
(module
  (memory (export "memory") i64 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
