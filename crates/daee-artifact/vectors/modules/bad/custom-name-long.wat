;; A custom section shorter than its name.
;; run: reactor
;; codes: DAEE-A022
(module binary "\00asm\01\00\00\00" "\00\03\09ab")
