;; Eight bytes and nothing more: a module, but no agent.
;; run: reactor
;; codes: DAEE-A026 DAEE-A026
(module binary "\00asm\01\00\00\00")
