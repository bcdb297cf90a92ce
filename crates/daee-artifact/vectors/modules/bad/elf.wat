;; A program for another machine.
;; run: reactor
;; codes: DAEE-A020
(module binary "\7fELF\02\01\01\00\00\00\00\00")
