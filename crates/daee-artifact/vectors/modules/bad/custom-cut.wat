;; A custom section that ends early.
;; run: reactor
;; codes: DAEE-A022
(module binary "\00asm\01\00\00\00" "\00\20\01fxx")
