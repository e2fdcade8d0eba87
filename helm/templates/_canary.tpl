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

{{- /* Whether each track has a Service of its own: for routes with weights, and for who judges one track alone. */ -}}
{{- define "catsdogs.tracked" -}}
{{- with .Values -}}
{{- if and .canary.enabled (or (include "catsdogs.weighted" $) .canary.watch.enabled .validation.enabled .validation.schedule) -}}
true
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* The Service of stable alone. */ -}}
{{- define "catsdogs.stableHost" -}}
{{ include "catsdogs.fullname" . }}{{ ternary "-stable" "" (eq (include "catsdogs.tracked" .) "true") }}
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


{{- /* The spec of a Job that runs `catsdogs canary` on both tracks. */ -}}
{{- define "catsdogs.watchJob" -}}
{{- with .Values.canary.watch -}}
# A verdict does not change by asking again.
backoffLimit: 0
# But a node that is drained is no verdict.
podFailurePolicy:
  rules:
    - action: Ignore
      onPodConditions: [{type: DisruptionTarget, status: "True"}]
activeDeadlineSeconds: {{ add (include "catsdogs.progressDeadline" $) .seconds $.Values.validation.seconds }}
template:
  metadata:
    # As of `helm test`: not those of a server, and admitted by the NetworkPolicy.
    labels:
      {{- include "catsdogs.labels" $ | nindent 6 }}
      app.kubernetes.io/component: test
  spec:
    {{- $name := include "catsdogs.fullname" $ }}
    {{- $address := printf "%s://%s-%%s:%v" (include "catsdogs.scheme" $) $name $.Values.service.ports.http }}
    {{- $words := list "canary" (printf "--stable=%s" (printf $address "stable")) (printf "--candidate=%s" (printf $address "canary")) }}
    {{- $words = concat $words (list (printf "--wait=%s" (include "catsdogs.progressDeadline" $)) (printf "--duration=%v" .seconds) (printf "--interval=%v" .intervalSeconds)) }}
    {{- if .prometheusUrl }}
    {{- $matchers := .selector | default (printf "namespace=%q,job=%q" $.Release.Namespace $.Release.Name) }}
    {{- $words = concat $words (list (printf "--prometheus=%s" .prometheusUrl) (printf "--selector=%s" $matchers)) }}
    {{- end }}
    {{- $slo := ternary (printf "%s-watch" $name) "" (ne (len $.Values.loadtest.slo) 0) }}
    {{- if $slo }}
    {{- $words = append $words "--slo=/etc/catsdogs/slo.yaml" }}
    {{- end }}
    {{- $words = concat $words .arguments (include "catsdogs.ownPictures" $ | fromJsonArray) }}
    {{- include "catsdogs.askSpec" (dict "root" $ "first" list "slo" $slo "containers" (list (dict "name" "canary" "words" $words))) | nindent 4 }}
{{- end -}}
{{- end -}}
