;; Names operations that need permissions.
;; run: reactor
(module
  (import "daee" "call" (func $call (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "http.fetch\00ipfs.read\00chain.publish")
  (func (export "daee_turn") (result i32)
    (drop (call $call (i32.const 0) (i32.const 10) (i32.const 64) (i32.const 0)))
    (drop (call $call (i32.const 11) (i32.const 9) (i32.const 64) (i32.const 0)))
    (drop (call $call (i32.const 21) (i32.const 13) (i32.const 64) (i32.const 0)))
    (i32.const 0)))
