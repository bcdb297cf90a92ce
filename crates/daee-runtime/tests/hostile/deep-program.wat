;; Calls itself, for ever, from its start.
;; style: per-event
;; expect: stack
(module
  (memory (export "memory") 1)
  (func $deep (call $deep) (call $deep))
  (func (export "_start")
    (call $deep)
  ))
