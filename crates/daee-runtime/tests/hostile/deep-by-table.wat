;; Calls itself by a table, for ever.
;; expect: stack
(module
  (memory (export "memory") 1)
  (type $void (func))
  (table $tables 2 2 funcref)
  (elem (i32.const 0) $a $b)
  (func $a (call_indirect (type $void) (i32.const 1)) (global.set $n (i32.const 1)))
  (func $b (call_indirect (type $void) (i32.const 0)) (global.set $n (i32.const 2)))
  (global $n (mut i32) (i32.const 0))
  (func (export "daee_turn") (result i32)
    (call_indirect $tables (type $void) (i32.const 0))
    (i32.const 0)))
