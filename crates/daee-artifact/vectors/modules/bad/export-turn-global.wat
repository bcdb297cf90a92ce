;; A turn that is no function.
;; run: reactor
;; codes: DAEE-A026
(module (memory (export "memory") 1) (global (export "daee_turn") i32 (i32.const 0)))
