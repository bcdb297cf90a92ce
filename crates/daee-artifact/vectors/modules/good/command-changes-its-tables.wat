;; A resident may: no checkpoint keeps its tables.
;; run: resident
(module
  (table 4 funcref)
  (func $f)
  (elem declare func $f)
  (memory (export "memory") 1)
  (func (export "_start")
    (table.set (i32.const 0) (ref.func $f))
    (drop (table.grow (ref.null func) (i32.const 2)))
    (table.fill (i32.const 1) (ref.func $f) (i32.const 2))
    (table.copy (i32.const 2) (i32.const 0) (i32.const 1))))
