;; The least a command is.
;; run: resident
(module
  (memory (export "memory") 1)
  (func (export "_start")))
