;; Files in directories, one of them empty.
;; run: reactor
(module
  (@custom "daee.files" "\01\04\00\00\00\05\00\00\00a.txt\00\00\00\00\07\00\00\00a/b.txt\01\00\00\002\09\00\00\00a/b/c.txt\01\00\00\001\02\00\00\00\c3\a9\01\00\00\003")
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
