;; Calls through a table.
;; run: reactor
(module
  (type $unary (func (param i32) (result i32)))
  (table 2 funcref)
  (elem (i32.const 0) $double $square)
  (func $double (type $unary) (i32.shl (local.get 0) (i32.const 1)))
  (func $square (type $unary) (i32.mul (local.get 0) (local.get 0)))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32)
    (drop (call_indirect (type $unary) (i32.const 21) (i32.const 1)))
    (i32.const 0)))
