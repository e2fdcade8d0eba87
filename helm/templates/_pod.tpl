{{- /* A pod of either track: what the canary has otherwise is in the values that it is given. */ -}}
{{- define "catsdogs.podSpec" -}}
automountServiceAccountToken: false
# Variables for each Service of the namespace would only slow the start down.
enableServiceLinks: false
terminationGracePeriodSeconds: {{ include "catsdogs.gracePeriod" . }}
{{- with include "catsdogs.serviceAccountName" . }}
serviceAccountName: {{ . | quote }}
{{- /* The old name of the same field, which Kubernetes keeps beside it: what is not taken away by both comes back, and
with it an account that went with the values. */}}
serviceAccount: {{ . | quote }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- if and .Values.gpu.enabled .Values.gpu.runtimeClassName }}
runtimeClassName: {{ .Values.gpu.runtimeClassName | quote }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
initContainers:
  {{- if include "catsdogs.fetches" . }}
  # Ends before TorchServe starts. Where it was cut off it goes on, also when the kubelet starts it again.
  - name: model
    image: {{ include "catsdogs.image" . | quote }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    command:
      - catsdogs
      - fetch
      - {{ include "catsdogs.modelAddress" . | quote }}
      - {{ include "catsdogs.archive" . }}
      - --sha256={{ .Values.model.sha256 }}
      {{- if include "catsdogs.signed" . }}
      - --model-key=/model-key/keys.pem
      {{- end }}
      - --timeout={{ int .Values.model.fetchSeconds }}
      - --max-mib={{ int .Values.model.maxMiB }}
      {{- if eq .Values.model.source "s3" }}
      {{- with .Values.model.s3.endpoint }}
      - {{ printf "--endpoint-url=%s" . | quote }}
      {{- end }}
      {{- end }}
    {{- with include "catsdogs.fetchEnv" . }}
    env:
      {{- . | nindent 6 }}
    {{- end }}
    resources:
      {{- toYaml .Values.model.resources | nindent 6 }}
    securityContext:
      {{- toYaml .Values.securityContext | nindent 6 }}
    # What it said last stands in `kubectl describe`: a wrong sha256, a refusal, a server that is not there.
    terminationMessagePolicy: FallbackToLogsOnError
    volumeMounts:
      - {name: model, mountPath: /models}
      {{- if include "catsdogs.signed" . }}
      - {name: model-key, mountPath: /model-key, readOnly: true}
      {{- end }}
      {{- if include "catsdogs.fetchSecret" . }}
      - {name: credentials, mountPath: /credentials, readOnly: true}
      {{- end }}
      {{- with .Values.extraVolumeMounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
  {{- end }}
  # A native sidecar: it starts before the gateway, and is told to go after the gateway has gone.
  - name: torchserve
    restartPolicy: Always
    image: {{ include "catsdogs.image" . | quote }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    command:
      - catsdogs
      - torchserve
      - {{ include "catsdogs.archive" . }}
      - --run=/run/catsdogs
      - --private=/run/torchserve
      {{- with .Values.model.sha256 }}
      - --sha256={{ . }}
      {{- end }}
      {{- if include "catsdogs.signed" . }}
      - --model-key=/model-key/keys.pem
      {{- end }}
      {{- with int .Values.torchserve.workers }}
      - --workers={{ . }}
      {{- end }}
      {{- with int .Values.torchserve.queue }}
      - --queue={{ . }}
      {{- end }}
      {{- if .Values.imageOperations }}
      - --image-operations
      {{- end }}
      {{- if .Values.torchserve.verbose }}
      - --verbose
      {{- end }}
    {{- with include "catsdogs.torchserveEnv" . }}
    env:
      {{- . | nindent 6 }}
    {{- end }}
    # Every 2 s, since the first answer waits for it. The gateway starts when this has succeeded. A time-out of
    # 10 s: Python itself takes a second to start on a node whose cores are all taken.
    startupProbe:
      exec: {command: [catsdogs, probe, startup, --run=/run/catsdogs]}
      periodSeconds: 2
      timeoutSeconds: 10
      failureThreshold: {{ divf .Values.startupSeconds 2 | ceil | int }}
    # Slow to judge, for a restart costs more than waiting: the probe itself forgives 60 s without a sign of life
    # and waits 5 s for the frontend; three failures in a row make another minute.
    livenessProbe:
      exec: {command: [catsdogs, probe, live, --run=/run/catsdogs]}
      periodSeconds: 20
      timeoutSeconds: 15
      failureThreshold: 3
    resources:
      {{- include "catsdogs.torchserveResources" . | nindent 6 }}
    securityContext:
      {{- toYaml .Values.securityContext | nindent 6 }}
    # What it said last stands in `kubectl describe`: a wrong sha256, a corrupt archive, a GPU that is missing.
    terminationMessagePolicy: FallbackToLogsOnError
    volumeMounts:
      - {name: run, mountPath: /run/catsdogs}
      - {name: private, mountPath: /run/torchserve}
      {{- if .Values.records.enabled }}
      - {name: records, mountPath: /records}
      {{- end }}
      {{- if ne .Values.model.source "image" }}
      - {name: model, mountPath: /models, readOnly: true}
      {{- end }}
      {{- if include "catsdogs.signed" . }}
      - {name: model-key, mountPath: /model-key, readOnly: true}
      {{- end }}
      {{- with .Values.extraVolumeMounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
containers:
  - name: gateway
    image: {{ include "catsdogs.image" . | quote }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    command:
      - catsdogs
      - gateway
      - --run=/run/catsdogs
      - --model={{ .Values.model.name }}
      - --host=0.0.0.0
      - --drain={{ .Values.gateway.drainSeconds }}
      - --grace={{ .Values.gateway.graceSeconds }}
      {{- if .Values.auth.existingSecret }}
      - --keys=/keys/keys
      {{- end }}
      {{- if .Values.gateway.tls.existingSecret }}
      - --tls-cert=/tls/tls.crt
      - --tls-key=/tls/tls.key
      {{- end }}
      {{- range .Values.gateway.corsOrigins }}
      - {{ printf "--cors-origin=%s" . | quote }}
      {{- end }}
      {{- range include "catsdogs.allowedHosts" . | fromJsonArray }}
      - {{ printf "--allowed-host=%s" . | quote }}
      {{- end }}
      {{- if .Values.gateway.accessLog }}
      - --access-log
      {{- end }}
      {{- if .Values.gateway.stats }}
      - --stats
      {{- end }}
      {{- if .Values.gateway.publicMetrics }}
      - --public-metrics
      {{- end }}
      {{- if .Values.imageOperations }}
      - --image-operations
      {{- end }}
      {{- with include "catsdogs.feedbackWords" . }}
      {{- . | nindent 6 }}
      {{- end }}
    {{- with include "catsdogs.gatewayEnv" . }}
    env:
      {{- . | nindent 6 }}
    {{- end }}
    ports:
      - {name: http, containerPort: 8080}
      - {name: grpc, containerPort: 7070}
      - {name: metrics, containerPort: 8082}
    # Ready means that a worker can answer; asking does not wait in the queue, so a saturated pod stays ready.
    # Unready two periods after the last worker has gone. The gateway itself waits 3 s for the answer.
    readinessProbe:
      httpGet: {path: /readyz, port: http{{ if .Values.gateway.tls.existingSecret }}, scheme: HTTPS{{ end }}}
      periodSeconds: 2
      timeoutSeconds: 4
      failureThreshold: 2
    # The gateway alone: what ails TorchServe is no reason to restart this.
    livenessProbe:
      httpGet: {path: /metrics, port: metrics}
      periodSeconds: 10
      timeoutSeconds: 5
      failureThreshold: 6
    resources:
      {{- toYaml .Values.gateway.resources | nindent 6 }}
    securityContext:
      {{- include "catsdogs.gatewaySecurityContext" . | nindent 6 }}
    terminationMessagePolicy: FallbackToLogsOnError
    volumeMounts:
      - {name: run, mountPath: /run/catsdogs}
      {{- if .Values.auth.existingSecret }}
      - {name: keys, mountPath: /keys, readOnly: true}
      {{- end }}
      {{- if .Values.gateway.tls.existingSecret }}
      - {name: tls, mountPath: /tls, readOnly: true}
      {{- end }}
      {{- with include "catsdogs.feedbackMounts" . }}
      {{- . | nindent 6 }}
      {{- end }}
      {{- with .Values.extraVolumeMounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
volumes:
  - name: run
    emptyDir:
      {{- toYaml .Values.run | nindent 6 }}
  # TorchServe's alone: whoever may write to the shared folder could exchange what lies in it.
  - name: private
    emptyDir:
      {{- toYaml .Values.run | nindent 6 }}
  {{- if .Values.records.enabled }}
  # On disk: records are not worth memory.
  - name: records
    {{- with .Values.records.claimName }}
    persistentVolumeClaim: {claimName: {{ . | quote }}}
    {{- else }}
    emptyDir: {sizeLimit: 256Mi}
    {{- end }}
  {{- end }}
  {{- if ne .Values.model.source "image" }}
  - name: model
    {{- include "catsdogs.modelVolume" . | nindent 4 }}
  {{- end }}
  {{- if include "catsdogs.signed" . }}
  - name: model-key
    configMap:
      name: {{ .Values.model.signature.existingConfigMap | default (include "catsdogs.modelKeyName" .) | quote }}
      items: [{key: {{ ternary .Values.model.signature.key "keys.pem" (ne .Values.model.signature.existingConfigMap "") | quote }}, path: keys.pem}]
  {{- end }}
  {{- with include "catsdogs.fetchSecret" . }}
  # The container that fetches mounts it, and no other.
  - name: credentials
    {{- . | nindent 4 }}
  {{- end }}
  {{- with include "catsdogs.keysVolume" . }}
  - name: keys
    {{- . | nindent 4 }}
  {{- end }}
  {{- with .Values.gateway.tls.existingSecret }}
  - name: tls
    secret:
      secretName: {{ . | quote }}
      defaultMode: 0440
      items: [{key: tls.crt, path: tls.crt}, {key: tls.key, path: tls.key}]
  {{- end }}
  {{- with include "catsdogs.feedbackVolumes" . }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with .Values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with include "catsdogs.topologySpread" . }}
topologySpreadConstraints:
  {{- . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "catsdogs.tolerations" . }}
tolerations:
  {{- . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
