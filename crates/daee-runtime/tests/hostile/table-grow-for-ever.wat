;; Asks for elements, for ever, and never mind the answer.
;; style: per-event
;; expect: fuel
(module
  (memory (export "memory") 1)
  (table 1 externref)
  (func (export "_start")
    (loop (drop (table.grow (ref.null extern) (i32.const 1000))) (br 0))
  ))
