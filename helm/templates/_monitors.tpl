{{- /*
What Prometheus' operator reads, of a PodMonitor or a ServiceMonitor. `up` and its like are kept of both pages, and would
be one series without their path.
*/ -}}
{{- define "catsdogs.monitorEndpoints" -}}
{{- range list "/metrics" "/torchserve/metrics" }}
- port: metrics
  path: {{ . }}
  {{- with $.interval }}
  interval: {{ . | quote }}
  {{- end }}
  relabelings: [{sourceLabels: [__metrics_path__], targetLabel: metrics_path}]
{{- end }}
{{- end -}}
