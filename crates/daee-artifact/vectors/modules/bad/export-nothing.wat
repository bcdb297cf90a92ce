;; No export at all.
;; run: reactor
;; codes: DAEE-A026 DAEE-A026
(module)
