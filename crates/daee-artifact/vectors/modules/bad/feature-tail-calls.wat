;; A tail call.
;; run: reactor
;; codes: DAEE-A022
(module
  (func $f (return_call $f)))
