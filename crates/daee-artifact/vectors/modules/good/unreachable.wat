;; Code behind a trap, which compilers leave there.
;; run: reactor
(module
  (func $never (param i32) (result i32)
    (if (local.get 0) (then (unreachable) (drop) (i32.add) (drop)))
    (i32.const 1))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
