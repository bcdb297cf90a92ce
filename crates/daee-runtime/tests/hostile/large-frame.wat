;; Has 10,000 values at once in one call, and lives.
;; expect: done
;; many: 10001 (i64.load8_u offset=# (i32.const 0))
;; more: 10000 (i64.xor)
(module
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32)
    $$many
    $$more
    (drop)
    (i32.const 0)))
