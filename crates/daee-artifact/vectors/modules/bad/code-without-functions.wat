;; Code for functions that are not declared.
;; run: reactor
;; codes: DAEE-A022
(module binary "\00asm\01\00\00\00" "\0a\04\01\02\00\0b")
