;; A shell script.
;; run: reactor
;; codes: DAEE-A020
(module binary "#!/bin/sh\0aexec true\0a")
