;; What a Rust toolchain leaves: a stack pointer, heap base, data end.
;; run: reactor
(module
  (type (func (param i32 i32 i32 i32) (result i32)))
  (type (func (param i32 i32)))
  (type (func (result i32)))
  (import "daee" "call" (func (type 0)))
  (table 2 2 funcref)
  (memory (export "memory") 17)
  (global $__stack_pointer (mut i32) (i32.const 1048576))
  (global (export "__data_end") i32 (i32.const 1048700))
  (global (export "__heap_base") i32 (i32.const 1048704))
  (elem (i32.const 1) func $drop_glue)
  (data (i32.const 1048576) "state.get\00\00\00state.set\00called `Option::unwrap()` on a `None` value")
  (func $drop_glue (type 1))
  (func (export "daee_turn") (type 2)
    (local $sp i32)
    (global.set $__stack_pointer
      (local.tee $sp (i32.sub (global.get $__stack_pointer) (i32.const 32))))
    (i64.store offset=8 (local.get $sp) (i64.const 0))
    (call_indirect (type 1) (local.get $sp) (i32.const 8) (i32.const 1))
    (drop (call 0 (i32.const 1048576) (i32.const 9) (local.get $sp) (i32.const 0)))
    (global.set $__stack_pointer (i32.add (local.get $sp) (i32.const 32)))
    (i32.const 0)))
