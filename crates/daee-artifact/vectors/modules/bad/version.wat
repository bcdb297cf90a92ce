;; A version that does not exist.
;; run: reactor
;; codes: DAEE-A022
(module binary "\00asm\02\00\00\00")
