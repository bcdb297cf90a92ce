;; Takes all it may have, writes to each page, and lives.
;; expect: done
(module
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32)
    (loop
      (i32.store (i32.shl (i32.sub (memory.size) (i32.const 1)) (i32.const 16)) (i32.const 7))
      (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
    (i32.const 0)))
