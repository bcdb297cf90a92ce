;; A mutable global that holds a reference.
;; run: per-event
(module
  (global (mut externref) (ref.null extern))
  (memory (export "memory") 1)
  (func (export "_start")))
