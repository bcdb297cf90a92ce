;; A turn that says nothing.
;; run: reactor
;; codes: DAEE-A026
(module (memory (export "memory") 1) (func (export "daee_turn")))
