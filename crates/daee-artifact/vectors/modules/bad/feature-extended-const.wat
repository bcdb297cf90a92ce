;; A sum in a constant.
;; run: reactor
;; codes: DAEE-A022
(module
  (global i32 (i32.add (i32.const 1) (i32.const 2))))
