;; Everything that can be said at once.
;; run: reactor
;; codes: DAEE-A024 DAEE-A025 DAEE-A027 DAEE-A026 DAEE-A026 DAEE-A026
(module
  (import "env" "open" (func))
  (import "daee" "call" (func (param i64)))
  (func $f)
  (start $f)
  (func (export "_initialize") (param i32)))
