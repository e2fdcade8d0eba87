{{- /*
A pod that runs `catsdogs check`: `root`, the chart; `host`, the Service that it asks; `words`, more of its command. Its
pictures are those of `validation`, or the image's.
*/ -}}
{{- define "catsdogs.checkSpec" -}}
{{- $check := dict "name" "check" "words" (include "catsdogs.checkWords" . | fromJsonArray) -}}
{{ include "catsdogs.askSpec" (dict "root" .root "first" list "containers" (list $check)) }}
{{- end -}}

{{- /* A JSON list: the command of `catsdogs check`, of a checkSpec. */ -}}
{{- define "catsdogs.checkWords" -}}
{{- $ports := .root.Values.service.ports -}}
{{- $url := printf "--url=%s://%s:%v" (include "catsdogs.scheme" .root) .host $ports.http -}}
{{- $grpc := printf "--grpc=%s:%v" .host $ports.grpc -}}
{{ concat (list "check" $url $grpc) .words (include "catsdogs.checkPictures" .root | fromJsonArray) | toJson }}
{{- end -}}

{{- /* A JSON list: the command of `catsdogs validate` of the Service `host` and of `root`'s values, with more `words`. */ -}}
{{- define "catsdogs.validateWords" -}}
{{- $url := printf "--url=%s://%s:%v" (include "catsdogs.scheme" .root) .host .root.Values.service.ports.http -}}
{{- $least := printf "--min-accuracy=%v" .root.Values.validation.leastAccuracy -}}
{{ concat (list "validate" $url $least) .words (include "catsdogs.ownPictures" .root | fromJsonArray) | toJson }}
{{- end -}}

{{- /*
A pod that asks servers: `root`, the chart; `first` and `containers`, lists of containers that run one after the other and
then, each with a `name` and the `words` of its command; where they read objectives, `slo`, the name of a ConfigMap; and `metrics`
where they read nothing but metrics, which takes no key, no certificate and no pictures.
*/ -}}
{{- define "catsdogs.askSpec" -}}
{{- $metrics := .metrics -}}
{{- $claim := ternary "" .root.Values.validation.claimName (not (not $metrics)) -}}
{{- $first := .first -}}
{{- $containers := .containers -}}
{{- $slo := .slo -}}
{{- with .root -}}
restartPolicy: Never
automountServiceAccountToken: false
enableServiceLinks: false
{{- with include "catsdogs.serviceAccountName" . }}
serviceAccountName: {{ . | quote }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with $first }}
initContainers:
  {{- range . }}
  {{- include "catsdogs.askContainer" (merge (dict "root" $.root "slo" $slo "metrics" $metrics) .) | nindent 2 }}
  {{- end }}
{{- end }}
containers:
  {{- range $containers }}
  {{- include "catsdogs.askContainer" (merge (dict "root" $.root "slo" $slo "metrics" $metrics) .) | nindent 2 }}
  {{- end }}
volumes:
  - name: run
    emptyDir: {sizeLimit: 64Mi}
  {{- with $slo }}
  - name: slo
    configMap: {name: {{ . | quote }}}
  {{- end }}
  {{- if not $metrics }}
  {{- with include "catsdogs.keysVolume" . }}
  - name: keys
    {{- . | nindent 4 }}
  {{- end }}
  {{- with include "catsdogs.checkAuthorities" . }}
  - name: tls
    # Optional, so that the check itself says that there is no ca.crt; the key is not for this pod.
    secret: {secretName: {{ . | quote }}, items: [{key: ca.crt, path: ca.crt}], optional: true}
  {{- end }}
  {{- end }}
  {{- with $claim }}
  - name: pictures
    persistentVolumeClaim: {claimName: {{ . | quote }}, readOnly: true}
  {{- end }}
# Where the servers run, the image is there already.
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "catsdogs.tolerations" . }}
tolerations:
  {{- . | nindent 2 }}
{{- end }}
{{- end -}}
{{- end -}}

{{- /* A container of such a pod: an item of a list. */ -}}
{{- define "catsdogs.askContainer" -}}
{{- $words := .words -}}
{{- $name := .name -}}
{{- $slo := .slo -}}
{{- $metrics := .metrics -}}
{{- with .root -}}
- name: {{ $name }}
  image: {{ include "catsdogs.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command:
    - catsdogs
    {{- range concat $words (ternary list (include "catsdogs.checkTrust" . | fromYamlArray) (not (not $metrics))) }}
    - {{ . | quote }}
    {{- end }}
  {{- with include (ternary "catsdogs.env" "catsdogs.checkEnv" (not (not $metrics))) . }}
  env:
    {{- . | nindent 4 }}
  {{- end }}
  resources:
    requests: {cpu: 100m, memory: 256Mi}
    limits: {memory: 512Mi}
  securityContext:
    {{- toYaml .Values.securityContext | nindent 4 }}
  terminationMessagePolicy: FallbackToLogsOnError
  volumeMounts:
    - {name: run, mountPath: /run/catsdogs}
    {{- if $slo }}
    - {name: slo, mountPath: /etc/catsdogs, readOnly: true}
    {{- end }}
    {{- if not $metrics }}
    {{- if .Values.auth.existingSecret }}
    - {name: keys, mountPath: /keys, readOnly: true}
    {{- end }}
    {{- if include "catsdogs.checkAuthorities" . }}
    - {name: tls, mountPath: /tls, readOnly: true}
    {{- end }}
    {{- if .Values.validation.claimName }}
    - {name: pictures, mountPath: /pictures, readOnly: true}
    {{- end }}
    {{- end }}
{{- end -}}
{{- end -}}

{{- /* A JSON list, of words of its command. What the image has must all be right; the user says how much of their own. */ -}}
{{- define "catsdogs.checkPictures" -}}
{{- $words := include "catsdogs.ownPictures" . | fromJsonArray -}}
{{- if $words -}}
{{- $words = append $words (printf "--min-accuracy=%v" .Values.validation.leastAccuracy) -}}
{{- end -}}
{{ $words | toJson }}
{{- end -}}

{{- /* A JSON list: the option that names the user's pictures, or nothing for the image's. */ -}}
{{- define "catsdogs.ownPictures" -}}
{{- $words := list -}}
{{- with .Values.validation -}}
{{- if or .claimName .path -}}
{{- $words = list (printf "--pictures=%s" (ternary (printf "/pictures/%s" .path) .path (ne .claimName ""))) -}}
{{- end -}}
{{- end -}}
{{ $words | toJson }}
{{- end -}}

{{- /* Of the pods of stable: two are of one revision where they run the same. */ -}}
{{- define "catsdogs.revision" -}}
{{ include "catsdogs.podSpec" (dict "unnamed" true "Values" .Values "Chart" .Chart "Release" .Release) | sha256sum | trunc 10 }}
{{- end -}}

{{- /* The Service of the pods of this revision alone. */ -}}
{{- define "catsdogs.validated" -}}
{{ include "catsdogs.fullname" . }}-{{ include "catsdogs.revision" . }}
{{- end -}}

{{- /* A CronJob's name has at most 52 characters: (list $ SUFFIX). */ -}}
{{- define "catsdogs.cronName" -}}
{{- $suffix := printf "-%s" (last .) -}}
{{ include "catsdogs.fullname" (first .) | trunc (sub 52 (len $suffix) | int) | trimSuffix "-" }}{{ $suffix }}
{{- end -}}
