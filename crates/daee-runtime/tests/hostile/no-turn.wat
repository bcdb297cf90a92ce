;; Has nothing to be entered by.
;; expect: refused DAEE-A026
(module
  (memory (export "memory") 1)
  (func (export "main")))
