{{- /*
Of the Job, its Service and its ConfigMap. 47 characters leave room for `-load-`, a revision, and the number of a pod in
the 63 of a pod's host name. With its revision, since a Job cannot be changed; `helm test` removes the last one itself.
*/ -}}
{{- define "catsdogs.loadName" -}}
{{ include "catsdogs.fullname" . | trunc 47 | trimSuffix "-" }}-load{{ if not .Values.loadtest.hook }}-{{ .Release.Revision }}{{ end }}
{{- end -}}

{{- /* Of its pods: neither those of a server, so that they are sent no requests, nor those of `helm test`. */ -}}
{{- define "catsdogs.loadLabels" -}}
{{ include "catsdogs.releaseLabels" . }}
app.kubernetes.io/component: load
{{- end -}}

{{- define "catsdogs.loadImage" -}}
{{- $repository := .Values.loadtest.image.repository | default .Values.image.repository -}}
{{- with .Values.loadtest.image -}}
{{- if .digest -}}
{{ printf "%s@%s" $repository .digest }}
{{- else -}}
{{ printf "%s:%s" $repository (.tag | default (printf "%s-load" $.Chart.AppVersion)) }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "catsdogs.loadWait" -}}
{{ int .Values.loadtest.waitSeconds | default (include "catsdogs.progressDeadline" .) }}
{{- end -}}

{{- /* What all of its pods are told. */ -}}
{{- define "catsdogs.loadWords" -}}
{{- $name := include "catsdogs.fullname" . -}}
- {{ .Values.loadtest.gate | quote }}
- --url={{ include "catsdogs.scheme" . }}://{{ $name }}:{{ .Values.service.ports.http }}
- --grpc={{ $name }}:{{ .Values.service.ports.grpc }}
{{- if and (eq (int .Values.replicas) 1) (eq .Values.autoscaling.type "none") (not .Values.canary.enabled) }}
{{- /* Of several pods the Service would show one before the test, and another one after it. */}}
- --metrics=http://{{ $name }}-metrics:8082/metrics
{{- end }}
{{- with include "catsdogs.checkTrust" . }}
{{ . }}
{{- end }}
{{- with .Values.loadtest }}
{{- if .slo }}
- --slo=/etc/catsdogs-load/slo.yaml
{{- end }}
{{- if .pictures.claimName }}
- --pictures=/pictures{{ with .pictures.path }}/{{ . }}{{ end }}
{{- else if .pictures.configMapName }}
- --pictures=/pictures
{{- end }}
{{- if gt (int .processes) 1 }}
- --processes={{ .processes }}
{{- end }}
{{- end }}
- --wait={{ include "catsdogs.loadWait" . }}
- --out=/run/catsdogs/load
- --print-summary
{{- end -}}

{{- define "catsdogs.loadCommand" -}}
{{- $job := include "catsdogs.loadName" . -}}
{{- if eq (int .Values.loadtest.pods) 1 -}}
- catsdogs
- loadtest
{{- else -}}
- sh
- -c
# The first pod tells the others what to send, and judges. It has a name once it has an address.
- |
  first={{ $job }}-0.{{ $job }}
  test "$JOB_COMPLETION_INDEX" != 0 || exec catsdogs loadtest "$@" --master --expect-workers={{ sub .Values.loadtest.pods 1 }}
  until getent hosts "$first" >/dev/null; do sleep 1; done
  exec catsdogs loadtest "$@" --worker --master-host="$first"
- loadtest
{{- end }}
{{ include "catsdogs.loadWords" . }}
{{- end -}}

{{- /* A generator beside a server takes processors from it, and two beside each other from each other. */ -}}
{{- define "catsdogs.loadAffinity" -}}
{{- with .Values.loadtest.affinity -}}
{{ toYaml . }}
{{- else -}}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "catsdogs.serverLabels" . | nindent 12 }}
    - weight: 50
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "catsdogs.loadLabels" . | nindent 12 }}
{{- end -}}
{{- end -}}

{{- define "catsdogs.loadSpec" -}}
restartPolicy: Never
automountServiceAccountToken: false
enableServiceLinks: false
{{- with include "catsdogs.serviceAccountName" . }}
serviceAccountName: {{ . }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if gt (int .Values.loadtest.pods) 1 }}
subdomain: {{ include "catsdogs.loadName" . }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
containers:
  - name: load
    image: {{ include "catsdogs.loadImage" . | quote }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    command:
      {{- include "catsdogs.loadCommand" . | nindent 6 }}
    {{- with include "catsdogs.checkEnv" . }}
    env:
      {{- . | nindent 6 }}
    {{- end }}
    {{- if gt (int .Values.loadtest.pods) 1 }}
    ports:
      - {name: meeting, containerPort: 5557}
    {{- end }}
    resources:
      {{- toYaml .Values.loadtest.resources | nindent 6 }}
    securityContext:
      {{- toYaml .Values.securityContext | nindent 6 }}
    terminationMessagePolicy: FallbackToLogsOnError
    volumeMounts:
      # All that is written: what it found, and what its libraries keep.
      - {name: run, mountPath: /run/catsdogs}
      {{- if .Values.loadtest.slo }}
      - {name: slo, mountPath: /etc/catsdogs-load, readOnly: true}
      {{- end }}
      {{- if include "catsdogs.checkAuthorities" . }}
      - {name: tls, mountPath: /tls, readOnly: true}
      {{- end }}
      {{- if .Values.loadtest.pictures.claimName }}
      - {name: pictures, mountPath: /pictures, readOnly: true}
      {{- end }}
      {{- with .Values.loadtest.pictures.items }}
      # One by one, since the folder of a ConfigMap has each of its files twice, behind links.
      {{- range . }}
      - {name: pictures, mountPath: {{ printf "/pictures/%s" .path | quote }}, subPath: {{ .key | quote }}, readOnly: true}
      {{- end }}
      {{- end }}
volumes:
  - name: run
    emptyDir: {sizeLimit: 256Mi}
  {{- if .Values.loadtest.slo }}
  - name: slo
    configMap: {name: {{ include "catsdogs.loadName" . }}}
  {{- end }}
  {{- with include "catsdogs.checkAuthorities" . }}
  - name: tls
    # Optional, so that the test itself says that there is no ca.crt; the key is not for this pod.
    secret: {secretName: {{ . }}, items: [{key: ca.crt, path: ca.crt}], optional: true}
  {{- end }}
  {{- with .Values.loadtest.pictures }}
  {{- if .claimName }}
  - name: pictures
    persistentVolumeClaim: {claimName: {{ .claimName }}, readOnly: true}
  {{- else if .configMapName }}
  - name: pictures
    configMap: {name: {{ .configMapName }}}
  {{- end }}
  {{- end }}
{{- with .Values.loadtest.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.loadtest.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
affinity:
  {{- include "catsdogs.loadAffinity" . | nindent 2 }}
{{- end -}}
