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

{{- /* Whether a container of its own fetches the archive. */ -}}
{{- define "catsdogs.fetches" -}}
{{- if has .Values.model.source (list "http" "s3") -}}
true
{{- end -}}
{{- end -}}

{{- /* Fetched ones are named by their content: a cache may hold several. */ -}}
{{- define "catsdogs.archive" -}}
{{- with .Values.model -}}
{{- if has .source (list "http" "s3") -}}
/models/{{ .sha256 }}.mar
{{- else -}}
/models/{{ get (dict "pvc" .pvc.path "oci" .oci.path) .source | default "catsdogs.mar" }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "catsdogs.modelAddress" -}}
{{- with .Values.model -}}
{{ ternary .http.url (printf "s3://%s/%s" .s3.bucket .s3.key) (eq .source "http") }}
{{- end -}}
{{- end -}}

{{- define "catsdogs.fetchEnv" -}}
{{- $env := include "catsdogs.env" . | fromYamlArray -}}
{{- with .Values.model -}}
{{- if and (eq .source "http") .http.existingSecret -}}
{{- $header := dict "secretKeyRef" (dict "name" .http.existingSecret "key" .http.key) -}}
{{- $env = prepend $env (dict "name" "CATSDOGS_FETCH_HEADER" "valueFrom" $header) -}}
{{- end -}}
{{- if and (eq .source "s3") .s3.region -}}
{{- $env = prepend $env (dict "name" "AWS_REGION" "value" .s3.region) -}}
{{- end -}}
{{- end -}}
{{- with $env -}}
{{ toYaml . }}
{{- end -}}
{{- end -}}

{{- define "catsdogs.modelVolume" -}}
{{- with .Values.model -}}
{{- if eq .source "pvc" -}}
persistentVolumeClaim: {claimName: {{ .pvc.claimName }}, readOnly: true}
{{- else if eq .source "oci" -}}
image: {reference: {{ .oci.reference | quote }}, pullPolicy: {{ .oci.pullPolicy }}}
{{- else if .cache.claimName -}}
persistentVolumeClaim: {claimName: {{ .cache.claimName }}}
{{- else if .cache.hostPath -}}
{{- /* One that the kubelet made would be root's, and nobody else could write to it. */ -}}
hostPath: {path: {{ .cache.hostPath | quote }}, type: Directory}
{{- else -}}
{{- /* A little more than what is ever written: too large an archive ends in a sentence, and not in an eviction. */ -}}
emptyDir: {sizeLimit: {{ add .maxMiB 16 }}Mi}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Words of its command: whom it believes; none without TLS. */ -}}
{{- define "catsdogs.checkTrust" -}}
{{- with .Values.gateway.tls -}}
{{- if and .existingSecret (eq .verify "none") -}}
- --no-verify
{{- else if .existingSecret -}}
- --server-name={{ include "catsdogs.serverName" $ }}
{{- if eq .verify "ca" }}
- --ca=/tls/ca.crt
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* The Secret in which `helm test` finds whom to believe; empty where it needs none. */ -}}
{{- define "catsdogs.checkAuthorities" -}}
{{- with .Values.gateway.tls -}}
{{ ternary .existingSecret "" (eq .verify "ca") }}
{{- end -}}
{{- end -}}
