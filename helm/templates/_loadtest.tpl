{{- /*
Of the Job, its Service and its ConfigMap. 44 characters leave room for `-load-`, a hash, and the number of a pod in the 63 of
a pod's host name. A Job cannot be changed, so another one has another name, as the ReplicaSets of a Deployment have:
whatever brings it, Helm or Argo CD. `helm test` removes the last one itself.
*/ -}}
{{- define "catsdogs.loadName" -}}
{{ include "catsdogs.fullname" . | trunc 44 | trimSuffix "-" }}-load{{ if not (or .Values.loadtest.hook (hasKey . "unnamed")) }}-{{ include "catsdogs.loadRevision" . }}{{ end }}
{{- end -}}

{{- /* Of what is asked, by whom, and for what. */ -}}
{{- define "catsdogs.loadRevision" -}}
{{- $bare := dict "unnamed" true "Values" .Values "Chart" .Chart "Release" .Release "Capabilities" .Capabilities -}}
{{- $canary := ternary .Values.canary dict .Values.canary.enabled -}}
{{ list (include "catsdogs.loadJob" $bare) .Values.loadtest.slo (include "catsdogs.podSpec" $bare) $canary | toJson | sha256sum | trunc 10 }}
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
- --model={{ .Values.model.name }}
{{- if and (eq (int .Values.replicas) 1) (eq .Values.autoscaling.type "none") (not .Values.canary.enabled) }}
{{- /* Of several pods the Service would show one before the test, and another one after it. */}}
- --metrics=http://{{ $name }}-metrics:8082/metrics
{{- end }}
{{- with include "catsdogs.checkTrust" . }}
{{ . }}
{{- end }}
{{- with include "catsdogs.loadPictures" . | fromJson }}
- --pictures=/pictures{{ with .path }}/{{ . }}{{ end }}
{{- end }}
{{- with .Values.loadtest }}
{{- if .slo }}
- --slo=/etc/catsdogs-load/slo.yaml
{{- else if $.Values.sloProfile }}
- --slo-profile={{ $.Values.sloProfile }}
{{- end }}
{{- if gt (int .processes) 1 }}
- --processes={{ .processes }}
{{- end }}
{{- end }}
- --wait={{ include "catsdogs.loadWait" . }}
- --out=/run/catsdogs/load
- --print-summary
{{- end -}}

{{- /* A JSON map of the volume of pictures and the path within it; empty for those of the image. */ -}}
{{- define "catsdogs.loadPictures" -}}
{{- $own := .Values.loadtest.pictures -}}
{{- $validation := .Values.validation -}}
{{- if $own.configMapName -}}
{{ dict "configMap" (dict "name" $own.configMapName) | toJson }}
{{- else if $own.claimName -}}
{{ dict "persistentVolumeClaim" (dict "claimName" $own.claimName "readOnly" true) "path" $own.path | toJson }}
{{- else if $validation.claimName -}}
{{ dict "persistentVolumeClaim" (dict "claimName" $validation.claimName "readOnly" true) "path" $validation.path | toJson }}
{{- else -}}
{}
{{- end -}}
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
serviceAccountName: {{ . | quote }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if gt (int .Values.loadtest.pods) 1 }}
subdomain: {{ include "catsdogs.loadName" . | quote }}
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
      {{- if .Values.auth.existingSecret }}
      - {name: keys, mountPath: /keys, readOnly: true}
      {{- end }}
      {{- if include "catsdogs.loadPictures" . | fromJson | dig "persistentVolumeClaim" "" }}
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
    configMap: {name: {{ include "catsdogs.loadName" . | quote }}}
  {{- end }}
  {{- with include "catsdogs.checkAuthorities" . }}
  - name: tls
    # Optional, so that the test itself says that there is no ca.crt; the key is not for this pod.
    secret: {secretName: {{ . | quote }}, items: [{key: ca.crt, path: ca.crt}], optional: true}
  {{- end }}
  {{- with include "catsdogs.keysVolume" . }}
  - name: keys
    {{- . | nindent 4 }}
  {{- end }}
  {{- with omit (include "catsdogs.loadPictures" . | fromJson) "path" }}
  - name: pictures
    {{- toYaml . | nindent 4 }}
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

{{- /* The spec of its Job. */ -}}
{{- define "catsdogs.loadJob" -}}
{{- with .Values.loadtest -}}
{{- if gt (int .pods) 1 }}
# Each pod has a number and a name; the first one's is known to the others.
completionMode: Indexed
completions: {{ .pods }}
parallelism: {{ .pods }}
{{- if semverCompare ">=1.31.0-0" $.Capabilities.KubeVersion.Version }}
# The first pod has the verdict: where it passed, no other can fail the test.
successPolicy:
  rules: [{succeededIndexes: "0"}]
{{- end }}
{{- end }}
# A verdict does not change by asking again.
backoffLimit: 0
podFailurePolicy:
  rules:
    # That this was so, and with which status, then stands in the Job's own.
    - action: FailJob
      onExitCodes: {containerName: load, operator: In, values: [2, 10, 11, 12, 13]}
    {{- if eq (int .pods) 1 }}
    # A node that is drained is no verdict. Several pods cannot go on without one of them, and fail.
    - action: Ignore
      onPodConditions: [{type: DisruptionTarget, status: "True"}]
    {{- end }}
activeDeadlineSeconds: {{ int .activeDeadlineSeconds }}
ttlSecondsAfterFinished: {{ int .ttlSecondsAfterFinished }}
template:
  metadata:
    labels:
      {{- include "catsdogs.labels" $ | nindent 6 }}
      app.kubernetes.io/component: load
      # A sidecar would outlive the test, and the Job would never end.
      sidecar.istio.io/inject: "false"
  spec:
    {{- include "catsdogs.loadSpec" $ | nindent 4 }}
{{- end -}}
{{- end -}}
