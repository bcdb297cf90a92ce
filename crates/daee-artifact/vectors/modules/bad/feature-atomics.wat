;; An atomic load.
;; run: reactor
;; codes: DAEE-A022
(module
  (memory 1)
  (func (drop (i32.atomic.load (i32.const 0)))))
