;; Files, names and producers.
;; run: reactor
(module
  (@custom "daee.files" "\01\01\00\00\00\07\00\00\00main.js\0e\00\00\00console.log(1)")
  (@custom "producers" "\00")
  (@custom "a name that nobody knows" (after data) "\ff\fe")
  (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (i32.const 0)))
