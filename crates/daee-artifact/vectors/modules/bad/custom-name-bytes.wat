;; A custom section whose name is no text.
;; run: reactor
;; codes: DAEE-A022
(module binary "\00asm\01\00\00\00" "\00\03\02\ff\fe")
