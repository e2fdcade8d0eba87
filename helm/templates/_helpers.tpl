{{- define "catsdogs.name" -}}
{{ .Values.nameOverride | default .Chart.Name | trunc 52 | trimSuffix "-" }}
{{- end -}}

{{- /* 52 characters leave room for `-metrics` in the 63 of a Service's name. */ -}}
{{- define "catsdogs.fullname" -}}
{{- $name := include "catsdogs.name" . -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride }}
{{- else if contains $name .Release.Name -}}
{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- /* What an object is told by. It cannot be changed in a release, so nothing of the user's is in it. */ -}}
{{- define "catsdogs.releaseLabels" -}}
app.kubernetes.io/name: {{ include "catsdogs.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- /* Of the pods that answer, whichever Deployment they are of. */ -}}
{{- define "catsdogs.serverLabels" -}}
{{ include "catsdogs.releaseLabels" . }}
app.kubernetes.io/component: server
{{- end -}}

{{- define "catsdogs.labels" -}}
{{- $ours := include "catsdogs.releaseLabels" . | fromYaml -}}
{{- $_ := set $ours "app.kubernetes.io/version" .Chart.AppVersion -}}
{{- $_ := set $ours "app.kubernetes.io/managed-by" .Release.Service -}}
{{- $_ := set $ours "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_") -}}
{{ merge (dict) .Values.commonLabels $ours | toYaml }}
{{- end -}}

{{- /* Of a list of maps, all entries; the first map that has a key gives its value. Empty where there are none. */ -}}
{{- define "catsdogs.merged" -}}
{{- $all := dict -}}
{{- range . -}}
{{- $all = merge $all . -}}
{{- end -}}
{{- with $all -}}
{{ toYaml . }}
{{- end -}}
{{- end -}}

{{- define "catsdogs.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ printf "%s@%s" .repository .digest }}
{{- else -}}
{{ printf "%s:%s" .repository (.tag | default (printf "%s-%s" $.Chart.AppVersion (ternary "gpu" "cpu" $.Values.gpu.enabled))) }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* What REST speaks; gRPC has the same certificate. */ -}}
{{- define "catsdogs.scheme" -}}
{{ ternary "https" "http" (ne .Values.gateway.tls.existingSecret "") }}
{{- end -}}

{{- define "catsdogs.grpcProtocol" -}}
{{ ternary "https" "kubernetes.io/h2c" (ne .Values.gateway.tls.existingSecret "") }}
{{- end -}}

{{- /* Whom the certificate names. */ -}}
{{- define "catsdogs.serverName" -}}
{{ .Values.gateway.tls.serverName | default (printf "%s.%s.svc" (include "catsdogs.fullname" .) .Release.Namespace) }}
{{- end -}}

{{- /* How its Services are reached within the cluster. */ -}}
{{- define "catsdogs.serviceReach" -}}
{{- with .Values.service -}}
{{- $set := dict -}}
{{- range $name := list "internalTrafficPolicy" "ipFamilyPolicy" "ipFamilies" -}}
{{- with get $.Values.service $name -}}
{{- $_ := set $set $name . -}}
{{- end -}}
{{- end -}}
{{- with $set -}}
{{ toYaml . }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "catsdogs.serviceAccountName" -}}
{{ .Values.serviceAccount.name | default (ternary (include "catsdogs.fullname" .) "" .Values.serviceAccount.create) }}
{{- end -}}

{{- /*
From SIGTERM to the last process:
  drainSeconds  the gateway serves on, unready
  graceSeconds  it finishes what is in flight, and exits
  15            TorchServe is told to go only now, with nothing left to do; the kubelet takes a second or two to see each
                of the two containers end; the rest is for a busy node
*/ -}}
{{- define "catsdogs.leastGracePeriod" -}}
{{ add .Values.gateway.drainSeconds .Values.gateway.graceSeconds 15 }}
{{- end -}}

{{- define "catsdogs.gracePeriod" -}}
{{ int .Values.terminationGracePeriodSeconds | default (include "catsdogs.leastGracePeriod" .) }}
{{- end -}}

{{- /* A pod's turn in a rollout: without surge the old one stops first; then the new one fetches the model, where it does,
starts, and is watched. */ -}}
{{- define "catsdogs.turnSeconds" -}}
{{- $fetch := ternary .Values.model.fetchSeconds 0 (include "catsdogs.fetches" . | eq "true") -}}
{{ add (include "catsdogs.gracePeriod" .) $fetch .Values.startupSeconds .Values.minReadySeconds }}
{{- end -}}

{{- define "catsdogs.progressDeadline" -}}
{{ int .Values.progressDeadlineSeconds | default (add 600 (include "catsdogs.turnSeconds" .)) }}
{{- end -}}

{{- /* A GPU that is tainted by its MIG slice's name is rare, but tolerating it costs nothing. */ -}}
{{- define "catsdogs.tolerations" -}}
{{- $all := list -}}
{{- if .Values.gpu.enabled -}}
{{- range list "nvidia.com/gpu" .Values.gpu.resourceName | uniq -}}
{{- $all = append $all (dict "key" . "operator" "Exists" "effect" "NoSchedule") -}}
{{- end -}}
{{- end -}}
{{- with concat $all .Values.tolerations -}}
{{ toYaml . }}
{{- end -}}
{{- end -}}

{{- define "catsdogs.topologySpread" -}}
{{- $labels := include "catsdogs.serverLabels" . | fromYaml -}}
{{- range .Values.topologySpreadConstraints -}}
{{- /* Only pods of one version are spread against each other: those that leave must not count. */ -}}
{{- $ours := ternary dict (dict "labelSelector" (dict "matchLabels" $labels) "matchLabelKeys" (list "pod-template-hash")) (hasKey . "labelSelector") }}
- {{ merge (dict) . $ours | toYaml | nindent 2 | trim }}
{{- end -}}
{{- end -}}
