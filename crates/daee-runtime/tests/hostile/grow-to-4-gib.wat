;; Asks for all there could be at once: asking costs by the page.
;; expect: fuel
(module
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32)
    (drop (memory.grow (i32.const 0x10000)))
    (i32.const 0)))
