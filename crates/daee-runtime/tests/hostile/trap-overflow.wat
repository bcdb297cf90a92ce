;; Divides the least number by minus one.
;; expect: trap integer overflow
(module
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32)
    (drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))
    (i32.const 0)))
