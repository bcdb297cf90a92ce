;; Blocks and loops with parameters.
;; run: reactor
(module
  (func $sum (param i32) (result i32)
    (i32.const 0) (local.get 0)
    (loop (param i32 i32) (result i32)
      (local.set 0)
      (i32.add (local.get 0))
      (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))
      (drop)
      (block (param i32) (result i32))))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
