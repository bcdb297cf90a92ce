;; Constants, shuffles and swizzles.
;; run: reactor
(module
  (func $turn (param v128) (result v128)
    (i8x16.swizzle
      (i8x16.shuffle 15 14 13 12 11 10 9 8 7 6 5 4 3 2 1 0 (local.get 0) (v128.const i64x2 1 2))
      (v128.const i8x16 0 0 0 0 1 1 1 1 2 2 2 2 3 3 3 3)))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
