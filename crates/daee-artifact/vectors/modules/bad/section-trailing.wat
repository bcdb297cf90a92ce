;; Bytes behind the last type.
;; run: reactor
;; codes: DAEE-A022
(module binary "\00asm\01\00\00\00" "\01\02\00\00")
