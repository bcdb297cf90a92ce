;; Has one local more than a function may.
;; expect: refused DAEE-A022
(module binary
  "\00asm\01\00\00\00"
  "\01\05\01\60\00\01\7f" "\03\02\01\00" "\05\03\01\00\01"
  "\07\16\02\06memory\02\00\09daee_turn\00\00"
  "\0a\0a\01\08\01\d1\86\03\7f\41\00\0b")
