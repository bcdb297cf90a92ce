;; Fills 4 GiB of a memory of 64 KiB: it is charged before it is judged.
;; expect: fuel
(module
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32)
    (memory.fill (i32.const 0) (i32.const 1) (i32.const -1))
    (i32.const 0)))
