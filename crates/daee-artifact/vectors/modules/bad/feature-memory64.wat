;; A memory of 64 bits.
;; run: reactor
;; codes: DAEE-A022
(module
  (memory i64 1))
