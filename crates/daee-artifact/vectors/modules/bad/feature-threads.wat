;; A shared memory.
;; run: reactor
;; codes: DAEE-A022
(module
  (memory 1 1 shared))
