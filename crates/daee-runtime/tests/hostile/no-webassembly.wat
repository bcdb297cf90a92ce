;; Is no WebAssembly.
;; expect: refused DAEE-A020
(module binary "#!/bin/sh\0a")
