;; A memory and no entry.
;; run: reactor
;; codes: DAEE-A026
(module (memory (export "memory") 1))
