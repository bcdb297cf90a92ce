;; A number of segments that is not theirs.
;; run: reactor
;; codes: DAEE-A022
(module binary "\00asm\01\00\00\00" "\05\03\01\00\01" "\0c\01\02" "\0b\01\00")
