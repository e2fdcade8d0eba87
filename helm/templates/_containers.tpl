{{- define "catsdogs.podAnnotations" -}}
{{- $ours := dict -}}
{{- with .Values.model.sha256 -}}
{{- $_ := set $ours "checksum/model" . -}}
{{- end -}}
{{- if .Values.metrics.scrapeAnnotations -}}
{{- $ours = merge $ours (dict "prometheus.io/scrape" "true" "prometheus.io/port" "8082" "prometheus.io/path" "/metrics") -}}
{{- end -}}
{{ include "catsdogs.merged" (list .Values.podAnnotations $ours) }}
{{- end -}}

{{- /* Of a container that has no business with the GPU. */ -}}
{{- define "catsdogs.env" -}}
{{- $env := list -}}
{{- if .Values.gpu.enabled -}}
{{- /* Where NVIDIA's runtime is the node's default, an image made for CUDA would be given every GPU of the node. */ -}}
{{- $env = append $env (dict "name" "NVIDIA_VISIBLE_DEVICES" "value" "void") -}}
{{- end -}}
{{- with concat $env .Values.extraEnv -}}
{{ toYaml . }}
{{- end -}}
{{- end -}}

{{- define "catsdogs.torchserveEnv" -}}
{{- $env := list -}}
{{- with .Values.runtime -}}
{{- $env = append $env (dict "name" "CATSDOGS_RUNTIME" "value" .) -}}
{{- end -}}
{{- if .Values.gpu.enabled -}}
{{- /* torch would answer from the CPU, slowly, and hide that the GPU is missing. */ -}}
{{- $env = append $env (dict "name" "CATSDOGS_DEVICE" "value" "cuda") -}}
{{- $env = append $env (dict "name" "CATSDOGS_PRECISION" "value" .Values.gpu.precision) -}}
{{- end -}}
{{- with concat $env .Values.extraEnv -}}
{{ toYaml . }}
{{- end -}}
{{- end -}}

{{- define "catsdogs.torchserveResources" -}}
{{- $gpu := dict -}}
{{- if .Values.gpu.enabled -}}
{{- $count := dict .Values.gpu.resourceName (int .Values.gpu.count) -}}
{{- $gpu = dict "requests" $count "limits" $count -}}
{{- end -}}
{{ merge (deepCopy .Values.torchserve.resources) $gpu | toYaml }}
{{- end -}}

{{- /* A key for `helm test`: of several in the Secret's entry it takes the first. */ -}}
{{- define "catsdogs.checkEnv" -}}
{{- $env := include "catsdogs.env" . | fromYamlArray -}}
{{- with .Values.auth -}}
{{- if .existingSecret -}}
{{- $key := dict "secretKeyRef" (dict "name" .existingSecret "key" .key) -}}
{{- $env = prepend $env (dict "name" "CATSDOGS_KEY" "valueFrom" $key) -}}
{{- end -}}
{{- end -}}
{{- with $env -}}
{{ toYaml . }}
{{- end -}}
{{- end -}}
