{{- /* The smallest number of pods that there will be. */ -}}
{{- define "catsdogs.leastReplicas" -}}
{{ eq .Values.autoscaling.type "none" | ternary .Values.replicas .Values.autoscaling.minReplicas | int }}
{{- end -}}

{{- /*
The requests in all pods, waiting and worked on, as a mean of the last minute: seconds that requests spent in a second
(Little's law). Unlike a gauge that is read now and then it misses none. Scrapes give `namespace` and `pod`, whoever makes
them. Without a request there is nothing to sum, which counts as 0.
*/ -}}
{{- define "catsdogs.requestsQuery" -}}
{{- $pods := printf "%s-[a-z0-9]+-[a-z0-9]{5}" (include "catsdogs.fullname" .) -}}
sum(rate(caddy_http_request_duration_seconds_sum{namespace="{{ .Release.Namespace }}",pod=~"{{ $pods }}",server=~"rest|grpc"}[1m])) or vector(0)
{{- end -}}

{{- /*
Up at once: a new pod takes its time to start as it is, and 30 s let it show what it takes off the others. Down one at a
time, each a drain's time after the last, so that its clients have moved before more move.
*/ -}}
{{- define "catsdogs.behavior" -}}
{{- if .Values.autoscaling.behavior -}}
{{ toYaml .Values.autoscaling.behavior }}
{{- else -}}
scaleUp:
  stabilizationWindowSeconds: 0
  selectPolicy: Max
  policies:
    - {type: Pods, value: 2, periodSeconds: 30}
    - {type: Percent, value: 100, periodSeconds: 30}
scaleDown:
  stabilizationWindowSeconds: {{ .Values.autoscaling.scaleDownSeconds }}
  policies:
    - {type: Pods, value: 1, periodSeconds: {{ max 60 (include "catsdogs.gracePeriod" . | int) }}}
{{- end -}}
{{- end -}}
