;; A command, and a manifest that does not say so.
;; run: reactor
;; codes: DAEE-A026
(module
  (memory (export "memory") 1)
  (func (export "_start")))
