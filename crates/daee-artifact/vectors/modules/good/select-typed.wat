;; Selects between references.
;; run: reactor
(module
  (func $f)
  (elem declare func $f)
  (func $pick (param i32) (result funcref)
    (select (result funcref) (ref.func $f) (ref.null func) (local.get 0)))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
