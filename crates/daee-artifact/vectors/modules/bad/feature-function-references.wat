;; Typed references.
;; run: reactor
;; codes: DAEE-A022
(module
  (type $f (func))
  (func (param (ref $f))))
