;; A length of more than 32 bits.
;; run: reactor
;; codes: DAEE-A022
(module binary "\00asm\01\00\00\00" "\01\ff\ff\ff\ff\ff\01")
