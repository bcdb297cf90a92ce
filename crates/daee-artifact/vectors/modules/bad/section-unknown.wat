;; A section that does not exist.
;; run: reactor
;; codes: DAEE-A022
(module binary "\00asm\01\00\00\00" "\63\01\00")
