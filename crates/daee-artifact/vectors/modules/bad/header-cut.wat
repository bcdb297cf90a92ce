;; Half a header.
;; run: reactor
;; codes: DAEE-A020
(module binary "\00asm")
