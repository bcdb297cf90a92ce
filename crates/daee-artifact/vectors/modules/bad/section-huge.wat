;; A section of 4 GiB in a file of ten bytes.
;; run: reactor
;; codes: DAEE-A022
(module binary "\00asm\01\00\00\00" "\0b\ff\ff\ff\ff\0f")
