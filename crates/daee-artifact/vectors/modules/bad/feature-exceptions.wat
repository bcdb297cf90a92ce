;; Tags.
;; run: reactor
;; codes: DAEE-A022
(module
  (tag))
