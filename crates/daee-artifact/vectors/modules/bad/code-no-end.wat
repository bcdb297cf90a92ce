;; A body without an end.
;; run: reactor
;; codes: DAEE-A022
(module binary "\00asm\01\00\00\00" "\01\04\01\60\00\00" "\03\02\01\00" "\0a\04\01\02\00\01")
