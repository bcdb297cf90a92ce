;; Tables of both kinds of reference.
;; run: reactor
(module
  (table 4 8 funcref)
  (table 4 externref)
  (func $f)
  (elem declare func $f)
  (global $g funcref (ref.func $f))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32)
    (drop (ref.is_null (table.get 0 (i32.const 0))))
    (drop (table.size 1))
    (i32.const 0)))
