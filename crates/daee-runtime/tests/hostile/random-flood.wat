;; Takes random bytes, for ever.
;; expect: fuel
(module
  (import "daee" "call" (func $call (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "random")
  (data (i32.const 256) "\0e\00\00\00{\22bytes\22:4096}")
  (func (export "daee_turn") (result i32)
    (loop
      (drop (call $call (i32.const 16) (i32.const 6) (i32.const 0x100) (i32.const 18)))
      (br 0))
    (i32.const 0)))
