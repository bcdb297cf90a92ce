;; A component.
;; run: reactor
;; codes: DAEE-A021
(component)
