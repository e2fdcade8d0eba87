{{- define "catsdogs.podAnnotations" -}}
{{- $ours := dict -}}
{{- with .Values.model.sha256 -}}
{{- $_ := set $ours "checksum/model" . -}}
{{- end -}}
{{- with .Values.model.signature.publicKey | trim -}}
{{- $_ := set $ours "checksum/model-key" (sha256sum .) -}}
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

{{- define "catsdogs.gatewayEnv" -}}
{{- $env := include "catsdogs.env" . | fromYamlArray -}}
{{- with .Values.feedback -}}
{{- if and .enabled (eq .store "s3") .s3.existingSecret -}}
{{- $env = prepend $env (dict "name" "CATSDOGS_FEEDBACK_CREDENTIALS" "value" "/feedback-credentials") -}}
{{- end -}}
{{- if and .enabled (eq .store "s3") .s3.region -}}
{{- $env = prepend $env (dict "name" "AWS_REGION" "value" .s3.region) -}}
{{- end -}}
{{- end -}}
{{- with $env -}}
{{ toYaml . }}
{{- end -}}
{{- end -}}

{{- /* The gateway's options for feedback; empty where it takes none. */ -}}
{{- define "catsdogs.feedbackWords" -}}
{{- with .Values.feedback -}}
{{- if .enabled -}}
{{- $place := "/feedback" -}}
{{- if eq .store "s3" -}}
{{- $place = printf "s3://%s/%s" .s3.bucket .s3.prefix -}}
{{- end -}}
- {{ printf "--feedback=%s" $place | quote }}
- --feedback-key=/feedback-key/key
- --max-feedback-age={{ .maxAgeHours }}
- --max-feedback-rate={{ .maxPerSecond }}
- --max-feedback-files={{ int .maxFiles }}
- --max-feedback-mib={{ int .maxMiB }}
{{- if .pictures }}
- --feedback-pictures
{{- end }}
{{- if and (eq .store "s3") .s3.endpoint }}
- {{ printf "--feedback-endpoint-url=%s" .s3.endpoint | quote }}
{{- end }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* The gateway alone mounts them. */ -}}
{{- define "catsdogs.feedbackMounts" -}}
{{- with .Values.feedback -}}
{{- if .enabled -}}
- {name: feedback-key, mountPath: /feedback-key, readOnly: true}
{{- if ne .store "s3" }}
- {name: feedback, mountPath: /feedback}
{{- else if .s3.existingSecret }}
- {name: feedback-credentials, mountPath: /feedback-credentials, readOnly: true}
{{- end }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "catsdogs.feedbackVolumes" -}}
{{- with .Values.feedback -}}
{{- if .enabled -}}
- name: feedback-key
  secret:
    secretName: {{ .signing.existingSecret | default (include "catsdogs.feedbackSecret" $) | quote }}
    defaultMode: 0440
    items: [{key: {{ ternary .signing.key "key" (ne .signing.existingSecret "") | quote }}, path: key}]
{{- if eq .store "pvc" }}
- name: feedback
  persistentVolumeClaim: {claimName: {{ .pvc.claimName | quote }}}
{{- else if eq .store "emptyDir" }}
- name: feedback
  # More than is ever written, so that a pod is not evicted for it.
  emptyDir: {sizeLimit: {{ add .maxMiB 64 }}Mi}
{{- else if .s3.existingSecret }}
- name: feedback-credentials
  secret:
    secretName: {{ .s3.existingSecret | quote }}
    defaultMode: 0440
{{- end }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* The Secret that the chart makes where no other is named. */ -}}
{{- define "catsdogs.feedbackSecret" -}}
{{ include "catsdogs.fullname" . }}-feedback
{{- end -}}

{{- define "catsdogs.torchserveEnv" -}}
{{- $env := list -}}
{{- with .Values.runtime -}}
{{- $env = append $env (dict "name" "CATSDOGS_RUNTIME" "value" .) -}}
{{- end -}}
{{- if .Values.gpu.enabled -}}
{{- /* torch would answer from the CPU, slowly, and hide that the GPU is missing. */ -}}
{{- $env = append $env (dict "name" "CATSDOGS_DEVICE" "value" "cuda") -}}
{{- end -}}
{{- $onGpu := and .Values.gpu.enabled (has .Values.runtime (list "" "torch" nil)) -}}
{{- with ternary .Values.gpu.precision .Values.precision $onGpu -}}
{{- $env = append $env (dict "name" "CATSDOGS_PRECISION" "value" .) -}}
{{- end -}}
{{- if .Values.unsure -}}
{{- $env = append $env (dict "name" "CATSDOGS_UNSURE" "value" "1") -}}
{{- end -}}
{{- if .Values.records.enabled -}}
{{- $env = append $env (dict "name" "CATSDOGS_RECORDS" "value" "/records") -}}
{{- end -}}
{{- with concat $env .Values.extraEnv -}}
{{ toYaml . }}
{{- end -}}
{{- end -}}

{{- /*
A user of its own, so that a gateway that was broken into owns nothing of TorchServe's. Both share a group, by which they
share the folder of sockets. Where the platform chooses the pod's user (OpenShift: runAsUser is null), it chooses this one.
*/ -}}
{{- define "catsdogs.gatewaySecurityContext" -}}
{{- $own := dict -}}
{{- if .Values.podSecurityContext.runAsUser -}}
{{- $own = dict "runAsUser" (int64 .Values.gateway.runAsUser) -}}
{{- end -}}
{{ merge (deepCopy .Values.securityContext) $own | toYaml }}
{{- end -}}

{{- /*
A JSON list: the values' own hosts, with those by which this release itself is asked. Empty where the check is off. The
Service of a validation is named after the pods, so its name is left out where the pods are only looked at (`unnamed`).
*/ -}}
{{- define "catsdogs.allowedHosts" -}}
{{- $hosts := list -}}
{{- with .Values.gateway.allowedHosts -}}
{{- $services := list "" "-metrics" -}}
{{- if include "catsdogs.tracked" $ -}}
{{- $services = concat $services (list "-stable" "-canary") -}}
{{- end -}}
{{- if and $.Values.validation.enabled (not (hasKey $ "unnamed")) (eq $.track "stable") -}}
{{- $services = append $services (printf "-%s" (include "catsdogs.revision" $)) -}}
{{- end -}}
{{- range $service := $services -}}
{{- $name := printf "%s%s" (include "catsdogs.fullname" $) $service -}}
{{- $hosts = concat $hosts (list $name (printf "%s.%s" $name $.Release.Namespace) (printf "%s.%s.svc" $name $.Release.Namespace)) -}}
{{- end -}}
{{- if $.Values.ingress.enabled -}}
{{- $hosts = concat $hosts $.Values.ingress.hosts -}}
{{- end -}}
{{- range $route := list $.Values.httpRoute $.Values.grpcRoute -}}
{{- if $route.enabled -}}
{{- $hosts = concat $hosts $route.hostnames -}}
{{- end -}}
{{- end -}}
{{- with $.Values.gateway.tls.serverName -}}
{{- $hosts = append $hosts . -}}
{{- end -}}
{{- $hosts = concat . $hosts | uniq -}}
{{- end -}}
{{ $hosts | toJson }}
{{- end -}}

{{- define "catsdogs.torchserveResources" -}}
{{- $gpu := dict -}}
{{- if .Values.gpu.enabled -}}
{{- $count := dict .Values.gpu.resourceName (int .Values.gpu.count) -}}
{{- $gpu = dict "requests" $count "limits" $count -}}
{{- end -}}
{{ merge (deepCopy .Values.torchserve.resources) $gpu | toYaml }}
{{- end -}}

{{- /*
As a folder: a single file (subPath) would never see a change. Readable for fsGroup, and nobody else. Secrets are files in
every pod: variables are inherited by all that a container starts, and shown by whatever prints its environment.
*/ -}}
{{- define "catsdogs.keysVolume" -}}
{{- with .Values.auth -}}
{{- if .existingSecret -}}
secret:
  secretName: {{ .existingSecret | quote }}
  defaultMode: 0440
  items: [{key: {{ .key | quote }}, path: keys}]
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* A key for `helm test`: of several in the Secret's entry it takes the first. */ -}}
{{- define "catsdogs.checkEnv" -}}
{{- $env := include "catsdogs.env" . | fromYamlArray -}}
{{- if .Values.auth.existingSecret -}}
{{- $env = prepend $env (dict "name" "CATSDOGS_KEY_FILE" "value" "/keys/keys") -}}
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

{{- /* Whether pods refuse an archive that is not signed. */ -}}
{{- define "catsdogs.signed" -}}
{{- with .Values.model.signature -}}
{{- if or (trim .publicKey) .existingConfigMap -}}
true
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* The ConfigMap that the chart makes where no other is named. */ -}}
{{- define "catsdogs.modelKeyName" -}}
{{ include "catsdogs.fullname" . }}-model-key
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
{{- $env = prepend $env (dict "name" "CATSDOGS_FETCH_HEADER_FILE" "value" "/credentials/header") -}}
{{- end -}}
{{- if and (eq .source "s3") .s3.existingSecret -}}
{{- $env = prepend $env (dict "name" "CATSDOGS_FETCH_CREDENTIALS" "value" "/credentials") -}}
{{- end -}}
{{- if and (eq .source "s3") .s3.region -}}
{{- $env = prepend $env (dict "name" "AWS_REGION" "value" .s3.region) -}}
{{- end -}}
{{- end -}}
{{- with $env -}}
{{ toYaml . }}
{{- end -}}
{{- end -}}

{{- /* What the container that fetches shows to the server or the bucket; empty where it has nothing to show. */ -}}
{{- define "catsdogs.fetchSecret" -}}
{{- with .Values.model -}}
{{- if and (eq .source "http") .http.existingSecret -}}
secret:
  secretName: {{ .http.existingSecret | quote }}
  defaultMode: 0440
  items: [{key: {{ .http.key | quote }}, path: header}]
{{- else if and (eq .source "s3") .s3.existingSecret -}}
secret:
  secretName: {{ .s3.existingSecret | quote }}
  defaultMode: 0440
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "catsdogs.modelVolume" -}}
{{- with .Values.model -}}
{{- if eq .source "pvc" -}}
persistentVolumeClaim: {claimName: {{ .pvc.claimName | quote }}, readOnly: true}
{{- else if eq .source "oci" -}}
image: {reference: {{ .oci.reference | quote }}, pullPolicy: {{ .oci.pullPolicy }}}
{{- else if .cache.claimName -}}
persistentVolumeClaim: {claimName: {{ .cache.claimName | quote }}}
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
