;; Extends bytes, halves and words.
;; run: reactor
(module
  (func $extend (param i32 i64) (result i64)
    (i64.add
      (i64.extend_i32_s (i32.extend8_s (i32.extend16_s (local.get 0))))
      (i64.extend32_s (i64.extend8_s (local.get 1)))))
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
