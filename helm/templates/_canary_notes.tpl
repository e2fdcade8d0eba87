{{- /* How to watch a canary, and how it ends. */ -}}
{{- define "catsdogs.canaryNotes" -}}
{{- $name := include "catsdogs.fullname" . -}}
{{- $kubectl := printf "kubectl --namespace %s" .Release.Namespace -}}
{{- $upgrade := printf "helm --namespace %s upgrade %s CHART --reuse-values" .Release.Namespace .Release.Name -}}
{{- $canary := include "catsdogs.canary" . | fromJson -}}
{{- $least := include "catsdogs.leastReplicas" . | int -}}
{{- $pods := int .Values.canary.replicas -}}
A canary beside them: {{ $pods }} {{ ternary "pod" "pods" (eq $pods 1) }}{{ if .Values.gpu.enabled }} with {{ .Values.gpu.count }} {{ .Values.gpu.resourceName }} each{{ end }}, image {{ include "catsdogs.image" $canary }}
{{- with $canary.Values.model.sha256 }}, model {{ . | trunc 12 }}{{ end }}
Watch it:
  {{ $kubectl }} rollout status deployment/{{ $name }}-canary
  {{ $kubectl }} get pods --selector app.kubernetes.io/instance={{ .Release.Name }},app.kubernetes.io/component=server --label-columns track
  {{ $kubectl }} logs --selector app.kubernetes.io/instance={{ .Release.Name }},track=canary --all-containers --prefix --follow
{{- if .Values.canary.watch.enabled }}
  {{ $kubectl }} logs --follow job/{{ $name }}-watch
{{- end }}
{{- if include "catsdogs.weighted" . }}
Give it more, once it is ready:
  {{ $upgrade }} --set canary.weight=10
{{- if int .Values.canary.weight }}
Before it is promoted, taken back or changed, give it nothing, and wait until the Gateway has followed:
  {{ $upgrade }} --set canary.weight=0
{{- end }}
{{- end }}
Promote it, so that it becomes stable by a rollout:
  {{ $upgrade }} --set canary.enabled=false --set canary.weight=-1{{ include "catsdogs.promotion" . }}
Take it back:
  {{ $upgrade }} --set canary.enabled=false --set canary.weight=-1
{{- if include "catsdogs.weighted" . }}
- canary.weight counts only once the canary is ready: what routes send to a canary of which no pod is ready is answered 503 by the Gateway, and not by stable. Of 100 requests it gets {{ .Values.canary.weight }}.
- Who asks the Service {{ $name }}{{ if .Values.ingress.enabled }} or the Ingress{{ end }} gets either by the number of ready pods, whatever canary.weight says.
{{- else }}
- It gets about {{ $pods }} of {{ add $least $pods }} connections once it is ready, and none before.
{{- end }}
- Stable keeps all its pods: a canary takes none of them away{{ if .Values.gpu.enabled }}, and without {{ mul .Values.gpu.count $pods }} spare {{ .Values.gpu.resourceName }}, in the pool and in the namespace's quota, it stays Pending{{ end }}.
{{- end -}}

{{- /* What makes the canary's image and model those of stable. */ -}}
{{- define "catsdogs.promotion" -}}
{{- $promoted := dict -}}
{{- with .Values.canary -}}
{{- if or .image.tag .image.digest -}}
{{- $promoted = dict "image.tag" .image.tag "image.digest" .image.digest -}}
{{- end -}}
{{- with .model.sha256 -}}
{{- $_ := set $promoted "model.sha256" . -}}
{{- end -}}
{{- range $source, $paths := include "catsdogs.canaryAddresses" $ | fromYaml -}}
{{- range $path := $paths -}}
{{- with get (get $.Values.canary.model $source) (splitList "." $path | last) -}}
{{- $_ := set $promoted (printf "model.%s" $path) . -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $path, $value := $promoted }} --set-string '{{ $path }}={{ $value | replace "," "\\," }}'
{{- end -}}
{{- end -}}
