;; A function of more locals than engines take.
;; run: reactor
;; codes: DAEE-A022
(module binary "\00asm\01\00\00\00" "\01\04\01\60\00\00" "\03\02\01\00" "\0a\08\01\06\01\d1\86\03\7f\0b")
