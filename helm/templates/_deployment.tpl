{{- /* A Deployment of one track, `stable` or `canary`, with the values of its pods. */ -}}
{{- define "catsdogs.deployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "catsdogs.trackName" . | quote }}
  labels:
    {{- include "catsdogs.labels" . | nindent 4 }}
  {{- with .Values.commonAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- if eq .track "canary" }}
  replicas: {{ .Values.canary.replicas }}
  {{- else if eq .Values.autoscaling.type "none" }}
  replicas: {{ .Values.replicas }}
  {{- else }}
  {{- /* Left out, it would become 1 in the upgrade that turns autoscaling on. */}}
  {{- with lookup "apps/v1" "Deployment" .Release.Namespace (include "catsdogs.fullname" .) }}
  replicas: {{ .spec.replicas }}
  {{- end }}
  {{- end }}
  revisionHistoryLimit: {{ .Values.revisionHistoryLimit }}
  minReadySeconds: {{ .Values.minReadySeconds }}
  progressDeadlineSeconds: {{ include "catsdogs.progressDeadline" . }}
  strategy:
    {{- if .Values.strategy }}
    {{- toYaml .Values.strategy | nindent 4 }}
    {{- else if .Values.gpu.enabled }}
    # On a full pool a surging pod would wait for a GPU that only the end of the rollout sets free.
    rollingUpdate: {maxSurge: 0, maxUnavailable: 1}
    {{- else }}
    rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
    {{- end }}
  selector:
    matchLabels:
      {{- include "catsdogs.serverLabels" . | nindent 6 }}
      # Another Deployment of this release may have pods behind the same Service.
      track: {{ .track }}
  template:
    metadata:
      # Neither the chart's version nor its name is here: a new chart that changes no pod restarts none.
      labels:
        {{- include "catsdogs.serverLabels" . | nindent 8 }}
        track: {{ .track }}
        {{- if and .Values.validation.enabled (eq .track "stable") }}
        pod-revision: {{ include "catsdogs.revision" . | quote }}
        {{- end }}
        {{- with include "catsdogs.merged" (list .Values.podLabels .Values.commonLabels) }}
        {{- . | nindent 8 }}
        {{- end }}
      {{- with include "catsdogs.podAnnotations" . }}
      annotations:
        {{- . | nindent 8 }}
      {{- end }}
    spec:
      {{- include "catsdogs.podSpec" . | nindent 6 }}
{{- end -}}
