;; Fills a table, for ever.
;; style: per-event
;; expect: fuel
(module
  (memory (export "memory") 1)
  (table 1000 funcref)
  (func (export "_start")
    (loop (table.fill (i32.const 0) (ref.null func) (i32.const 1000)) (br 0))
  ))
