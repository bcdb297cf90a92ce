;; A component of the first byte on.
;; run: reactor
;; codes: DAEE-A021
(module binary "\00asm\0d\00\01\00")
