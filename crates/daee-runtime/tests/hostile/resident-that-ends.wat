;; Ends at once, each time.
;; style: resident
;; expect: exited 0
(module
  (memory (export "memory") 1)
  (func (export "_start")
  ))
