;; Takes elements until it gets no more, and fails of it.
;; style: per-event
;; expect: table
(module
  (memory (export "memory") 1)
  (table 1 funcref)
  (func (export "_start")
    (loop
      (if (i32.eq (table.grow (ref.null func) (i32.const 100)) (i32.const -1)) (then (unreachable)))
      (br 0))
  ))
