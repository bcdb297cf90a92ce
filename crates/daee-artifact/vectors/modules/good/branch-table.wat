;; A switch of many cases.
;; run: reactor
(module
  (func $case (param i32) (result i32)
    (block
    (block
    (block
    (block
    (block
    (block
    (block
    (block
    (block
    (block
    (block
    (block
    (block
    (block
    (block
    (block
    (block
    (block
    (block
    (block
    (block
    (block
    (block
    (block
    (block
    (block
    (block
    (block
    (block
    (block
    (block
    (block
    (block
    (block
    (block
    (block
    (block
    (block
    (block
    (block
      (br_table 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 (local.get 0))
    ) (return (i32.const 0))
    ) (return (i32.const 1))
    ) (return (i32.const 4))
    ) (return (i32.const 9))
    ) (return (i32.const 16))
    ) (return (i32.const 25))
    ) (return (i32.const 36))
    ) (return (i32.const 49))
    ) (return (i32.const 64))
    ) (return (i32.const 81))
    ) (return (i32.const 100))
    ) (return (i32.const 121))
    ) (return (i32.const 144))
    ) (return (i32.const 169))
    ) (return (i32.const 196))
    ) (return (i32.const 225))
    ) (return (i32.const 256))
    ) (return (i32.const 289))
    ) (return (i32.const 324))
    ) (return (i32.const 361))
    ) (return (i32.const 400))
    ) (return (i32.const 441))
    ) (return (i32.const 484))
    ) (return (i32.const 529))
    ) (return (i32.const 576))
    ) (return (i32.const 625))
    ) (return (i32.const 676))
    ) (return (i32.const 729))
    ) (return (i32.const 784))
    ) (return (i32.const 841))
    ) (return (i32.const 900))
    ) (return (i32.const 961))
    ) (return (i32.const 1024))
    ) (return (i32.const 1089))
    ) (return (i32.const 1156))
    ) (return (i32.const 1225))
    ) (return (i32.const 1296))
    ) (return (i32.const 1369))
    ) (return (i32.const 1444))
    ) (i32.const -1))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
