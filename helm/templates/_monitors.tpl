{{- /*
What Prometheus' operator reads, of a PodMonitor or a ServiceMonitor. `up` and its like are kept of both pages, and would
be one series without their path. The alerts are reckoned for a reading each 15 s.
*/ -}}
{{- define "catsdogs.monitorEndpoints" -}}
{{- range list "/metrics" "/torchserve/metrics" }}
- port: metrics
  path: {{ . }}
  {{- with $.interval | default (ternary "15s" "" $.alerts) }}
  interval: {{ . | quote }}
  {{- end }}
  relabelings: [{sourceLabels: [__metrics_path__], targetLabel: metrics_path}]
{{- end }}
{{- end -}}

{{- /* Of the files that were made from the profile's objectives. */ -}}
{{- define "catsdogs.sloSuffix" -}}
{{- with .Values.sloProfile -}} -{{ . }} {{- end -}}
{{- end -}}
