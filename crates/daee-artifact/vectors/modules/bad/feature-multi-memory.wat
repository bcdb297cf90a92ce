;; Two memories.
;; run: reactor
;; codes: DAEE-A022
(module
  (memory 1)
  (memory 1))
