;; Is a component.
;; expect: refused DAEE-A021
(component)
