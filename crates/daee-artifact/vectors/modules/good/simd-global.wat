;; A vector in a global.
;; run: reactor
(module
  (global $state (mut v128) (v128.const i32x4 1 2 3 4))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32)
    (global.set $state (i32x4.add (global.get $state) (v128.const i32x4 1 1 1 1)))
    (i32.const 0)))
