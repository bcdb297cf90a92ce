;; A section that is promised longer than the file.
;; run: reactor
;; codes: DAEE-A022
(module binary "\00asm\01\00\00\00" "\01\20\01\60")
