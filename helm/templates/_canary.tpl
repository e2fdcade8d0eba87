{{- define "catsdogs.trackName" -}}
{{ include "catsdogs.fullname" . }}{{ ternary "-canary" "" (eq .track "canary") }}
{{- end -}}

{{- /* The chart as the canary's pods see it: the values of stable, with those of `canary` in their place. */ -}}
{{- define "catsdogs.canary" -}}
{{- $values := deepCopy .Values -}}
{{- $image := .Values.canary.image -}}
{{- /* Both of them: a digest of stable would win over a tag of the canary. */ -}}
{{- if or $image.tag $image.digest -}}
{{- $_ := set $values.image "tag" $image.tag -}}
{{- $_ := set $values.image "digest" $image.digest -}}
{{- end -}}
{{- with .Values.canary.model.sha256 -}}
{{- $_ := set $values.model "sha256" . -}}
{{- end -}}
{{- range $source, $paths := include "catsdogs.canaryAddresses" . | fromYaml -}}
{{- range $path := $paths -}}
{{- with get (get $.Values.canary.model $source) (splitList "." $path | last) -}}
{{- $_ := set (get $values.model $source) (splitList "." $path | last) . -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{ dict "track" "canary" "Values" $values "Chart" (dict "Name" .Chart.Name "AppVersion" .Chart.AppVersion "Version" .Chart.Version) "Release" (dict "Name" .Release.Name "Namespace" .Release.Namespace "Service" .Release.Service) | toJson }}
{{- end -}}

{{- /* Where a model of each source lies, of what the canary may have otherwise. */ -}}
{{- define "catsdogs.canaryAddresses" -}}
pvc: [pvc.claimName, pvc.path]
http: [http.url]
s3: [s3.key]
oci: [oci.reference]
{{- end -}}

{{- /* Whether routes share requests out by weight, between Services of one track each. */ -}}
{{- define "catsdogs.weighted" -}}
{{- if and .Values.canary.enabled (ge (int .Values.canary.weight) 0) -}}
true
{{- end -}}
{{- end -}}

{{- /* What a route sends requests to, at a port: (list $ port). */ -}}
{{- define "catsdogs.backendRefs" -}}
{{- $name := include "catsdogs.fullname" (first .) -}}
{{- $canary := (first .).Values.canary -}}
{{- if include "catsdogs.weighted" (first .) -}}
- {name: {{ $name }}-stable, port: {{ last . }}, weight: {{ sub 100 $canary.weight }}}
- {name: {{ $name }}-canary, port: {{ last . }}, weight: {{ $canary.weight }}}
{{- else -}}
- {name: {{ $name | quote }}, port: {{ last . }}}
{{- end -}}
{{- end -}}
