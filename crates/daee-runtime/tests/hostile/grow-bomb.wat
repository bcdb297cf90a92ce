;; Takes memory until it gets no more, and fails of it.
;; expect: memory
(module
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32)
    (loop
      (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (unreachable)))
      (i32.store (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 4)) (i32.const 7))
      (br 0))
    (i32.const 0)))
