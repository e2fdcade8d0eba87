{{- /*
The first line of every template: replaces .Values by a copy in which each key without a value has its default. Helm leaves
such keys out, and so does an upgrade with --reuse-values from a chart that did not have them yet. Within a map of
Kubernetes' own (resources, securityContext) nothing is added: there, a key without a value takes away what the chart has.
*/ -}}
{{- define "catsdogs.prepare" -}}
{{- if not (hasKey . "prepared") -}}
{{- $values := deepCopy .Values -}}
{{- include "catsdogs.fill" (list $values (include "catsdogs.defaults" . | fromJson)) -}}
{{- /* A tag of digits is a number to YAML. What is no whole number has lost digits (1.30 is 1.3), so it is refused. */ -}}
{{- range $image := list $values.image $values.canary.image $values.loadtest.image -}}
{{- if and (not (kindIs "string" $image.tag)) (eq (float64 $image.tag) (int64 $image.tag | float64)) -}}
{{- $_ := set $image "tag" (int64 $image.tag | toString) -}}
{{- end -}}
{{- end -}}
{{- range $map := list $values.torchserve.resources $values.gateway.resources $values.model.resources $values.loadtest.resources $values.securityContext $values.podSecurityContext -}}
{{- include "catsdogs.prune" $map -}}
{{- end -}}
{{- $_ := set . "Values" $values -}}
{{- $_ := set . "prepared" true -}}
{{- end -}}
{{- end -}}

{{- /* Of (list VALUES DEFAULTS): sets in VALUES what has no value there. */ -}}
{{- define "catsdogs.fill" -}}
{{- $values := first . -}}
{{- range $key, $default := last . -}}
{{- $blank := kindIs "invalid" (index $values $key) -}}
{{- if kindIs "slice" $default -}}
{{- if $blank -}}
{{- $_ := set $values $key (first $default) -}}
{{- end -}}
{{- else -}}
{{- if $blank -}}
{{- $_ := set $values $key dict -}}
{{- end -}}
{{- include "catsdogs.fill" (list (index $values $key) $default) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /*
Removes keys without a value from a map. Helm keeps `cpu: null` in an upgrade with --reuse-values, and the API server takes
it as a limit of 0.
*/ -}}
{{- define "catsdogs.prune" -}}
{{- $map := . -}}
{{- range $key, $value := $map -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := unset $map $key -}}
{{- else if kindIs "map" $value -}}
{{- include "catsdogs.prune" $value -}}
{{- end -}}
{{- end -}}
{{- end -}}
