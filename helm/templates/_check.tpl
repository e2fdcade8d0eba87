{{- /*
A pod that runs `catsdogs check`: `root`, the chart; `host`, the Service that it asks; `words`, more of its command. Its
pictures are those of `validation`, or the image's.
*/ -}}
{{- define "catsdogs.checkSpec" -}}
{{- $claim := .root.Values.validation.claimName -}}
{{- $words := concat .words (include "catsdogs.checkPictures" .root | fromJsonArray) -}}
{{- $host := .host -}}
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
containers:
  - name: check
    image: {{ include "catsdogs.image" . | quote }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    command:
      - catsdogs
      - check
      - --url={{ include "catsdogs.scheme" . }}://{{ $host }}:{{ .Values.service.ports.http }}
      - --grpc={{ $host }}:{{ .Values.service.ports.grpc }}
      {{- range $words }}
      - {{ . | quote }}
      {{- end }}
      {{- with include "catsdogs.checkTrust" . }}
      {{- . | nindent 6 }}
      {{- end }}
    {{- with include "catsdogs.checkEnv" . }}
    env:
      {{- . | nindent 6 }}
    {{- end }}
    resources:
      requests: {cpu: 100m, memory: 256Mi}
      limits: {memory: 512Mi}
    securityContext:
      {{- toYaml .Values.securityContext | nindent 6 }}
    terminationMessagePolicy: FallbackToLogsOnError
    volumeMounts:
      - {name: run, mountPath: /run/catsdogs}
      {{- if .Values.auth.existingSecret }}
      - {name: keys, mountPath: /keys, readOnly: true}
      {{- end }}
      {{- if include "catsdogs.checkAuthorities" . }}
      - {name: tls, mountPath: /tls, readOnly: true}
      {{- end }}
      {{- if $claim }}
      - {name: pictures, mountPath: /pictures, readOnly: true}
      {{- end }}
volumes:
  - name: run
    emptyDir: {sizeLimit: 64Mi}
  {{- with include "catsdogs.keysVolume" . }}
  - name: keys
    {{- . | nindent 4 }}
  {{- end }}
  {{- with include "catsdogs.checkAuthorities" . }}
  - name: tls
    # Optional, so that the check itself says that there is no ca.crt; the key is not for this pod.
    secret: {secretName: {{ . | quote }}, items: [{key: ca.crt, path: ca.crt}], optional: true}
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

{{- /* A JSON list, of words of its command. What the image has must all be right; the user says how much of their own. */ -}}
{{- define "catsdogs.checkPictures" -}}
{{- $words := list -}}
{{- with .Values.validation -}}
{{- if or .claimName .path -}}
{{- $words = list (printf "--pictures=%s" (ternary (printf "/pictures/%s" .path) .path (ne .claimName ""))) (printf "--min-accuracy=%v" .leastAccuracy) -}}
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
