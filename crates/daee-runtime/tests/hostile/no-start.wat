;; Would run outside of any turn.
;; expect: refused DAEE-A027
(module
  (memory (export "memory") 1)
  (func $start (loop (br 0)))
  (start $start)
  (func (export "daee_turn") (result i32) (i32.const 0)))
