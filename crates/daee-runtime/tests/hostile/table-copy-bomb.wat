;; Moves a table onto itself, for ever.
;; style: per-event
;; expect: fuel
(module
  (memory (export "memory") 1)
  (table 1000 funcref)
  (func (export "_start")
    (loop (table.copy (i32.const 1) (i32.const 0) (i32.const 999)) (br 0))
  ))
