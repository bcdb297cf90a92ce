;; A command with an initializer, which is not called.
;; run: resident
(module
  (func (export "_initialize"))
  (memory (export "memory") 1)
  (func (export "_start")))
