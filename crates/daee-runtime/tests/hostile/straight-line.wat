;; Much code without a branch: what it costs is taken before the next look.
;; expect: fuel
;; many: 20000 (local.set $n (i64.mul (local.get $n) (i64.const 3)))
(module
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (local $n i64)
    (loop $$many(br 0))
    (i32.const 0)))
