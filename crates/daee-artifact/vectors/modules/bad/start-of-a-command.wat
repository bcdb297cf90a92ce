;; A start function in a command.
;; run: resident
;; codes: DAEE-A027
(module
  (func $f)
  (start $f)
  (memory (export "memory") 1)
  (func (export "_start")))
