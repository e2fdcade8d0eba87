{{- /* How to see a load test's verdict, and how its summary comes out of the log. */ -}}
{{- define "catsdogs.loadNotes" -}}
{{- $job := include "catsdogs.loadName" . -}}
{{- $kubectl := printf "kubectl --namespace %s" .Release.Namespace -}}
{{- $several := gt (int .Values.loadtest.pods) 1 -}}
{{- $pods := printf "--selector batch.kubernetes.io/job-name=%s%s" $job (ternary ",batch.kubernetes.io/job-completion-index=0" "" $several) -}}
{{- if .Values.loadtest.hook -}}
Put it under load, by the gate {{ .Values.loadtest.gate }} from {{ .Values.loadtest.pods }} {{ ternary "pods" "pod" $several }}; this fails where the objectives are not kept:
  helm --namespace {{ .Release.Namespace }} test {{ .Release.Name }} --filter name={{ $job }} --timeout {{ int .Values.loadtest.activeDeadlineSeconds }}s
{{- else -}}
A Job puts it under load now, by the gate {{ .Values.loadtest.gate }} from {{ .Values.loadtest.pods }} {{ ternary "pods" "pod" $several }}. It succeeds where the objectives are kept, and fails otherwise:
  {{ $kubectl }} wait --for=condition=complete --timeout={{ int .Values.loadtest.activeDeadlineSeconds }}s job/{{ $job }}
{{- end }}
Why it failed, with the exit status (10 the objectives are not kept, 11 nobody can tell, 12 the measurement does not count, 13 no server was ready):
  {{ $kubectl }} get job {{ $job }} -o 'jsonpath={.status.conditions[?(@.type=="Failed")].message}'
What it says, and its summary.json:
  {{ $kubectl }} logs {{ $pods }} --tail=-1 --follow
  {{ $kubectl }} logs {{ $pods }} --tail=-1 | sed '1,/^-----BEGIN CATSDOGS SUMMARY-----$/d; /^-----END CATSDOGS SUMMARY-----$/,$d' > summary.json
{{- end -}}
