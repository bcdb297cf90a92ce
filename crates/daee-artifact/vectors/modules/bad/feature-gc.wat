;; A type of garbage-collected objects.
;; run: reactor
;; codes: DAEE-A022
(module
  (type (struct (field i32))))
