;; And it may drop segments.
;; run: resident
(module
  (table 2 funcref)
  (func $f)
  (elem $e func $f)
  (data $d "once")
  (memory (export "memory") 1)
  (func (export "_start")
    (table.init $e (i32.const 0) (i32.const 0) (i32.const 1))
    (elem.drop $e)
    (memory.init $d (i32.const 0) (i32.const 0) (i32.const 4))
    (data.drop $d)))
