;; Copies functions into a table, for ever.
;; style: per-event
;; expect: fuel
;; many: 1000 $one
(module
  (memory (export "memory") 1)
  (table 1000 funcref)
  (func $one)
  (elem $all func $$many)
  (func (export "_start")
    (loop (table.init $all (i32.const 0) (i32.const 0) (i32.const 1000)) (br 0))
  ))
