{{- define "catsdogs.notes" -}}
{{- $name := include "catsdogs.fullname" . -}}
{{- $kubectl := printf "kubectl --namespace %s" .Release.Namespace -}}
{{- $scheme := include "catsdogs.scheme" . -}}
{{- $server := include "catsdogs.serverName" . -}}
{{- $tls := .Values.gateway.tls.existingSecret -}}
{{- $trust := ternary (dict "ca" " --cacert ca.crt" "system" "" "none" " --insecure" | dig .Values.gateway.tls.verify "") "" (ne $tls "") -}}
{{- $key := ternary " -H \"Authorization: Bearer $KEY\"" "" (ne .Values.auth.existingSecret "") -}}
{{- $least := include "catsdogs.leastReplicas" . | int -}}
{{ .Chart.Name }} {{ .Chart.AppVersion }}: {{ $least }}{{ if ne .Values.autoscaling.type "none" }} to {{ .Values.autoscaling.maxReplicas }} pods{{ else }} {{ ternary "pod" "pods" (eq $least 1) }}{{ end }}
{{- if .Values.gpu.enabled }} with {{ .Values.gpu.count }} {{ .Values.gpu.resourceName }} each{{ else }} on CPUs{{ end }}, image {{ include "catsdogs.image" . }}

Wait until it answers:
  {{ $kubectl }} rollout status deployment/{{ $name }}

Ask it:
{{- if eq .Values.service.type "ClusterIP" }}
  {{ $kubectl }} port-forward service/{{ $name }} 8080:{{ .Values.service.ports.http }} &
{{- if $tls }}
  curl{{ $trust }} --connect-to ::127.0.0.1:8080{{ $key }} --data-binary @photo.jpg https://{{ $server }}/predictions/{{ .Values.model.name }}
  and its page is https://127.0.0.1:8080/, where the browser warns that the certificate names {{ $server }}
{{- else }}
  curl{{ $key }} --data-binary @photo.jpg http://127.0.0.1:8080/predictions/{{ .Values.model.name }}
  and its page is http://127.0.0.1:8080/
{{- end }}
{{- else }}
  {{ $kubectl }} get service {{ $name }}     # {{ if eq .Values.service.type "NodePort" }}ADDRESS is any node's, PORT the one after {{ .Values.service.ports.http }}:{{ else }}ADDRESS is its EXTERNAL-IP, PORT {{ .Values.service.ports.http }}{{ end }}
{{- if $tls }}
  curl{{ $trust }} --connect-to ::ADDRESS:PORT{{ $key }} --data-binary @photo.jpg https://{{ $server }}/predictions/{{ .Values.model.name }}
{{- else }}
  curl{{ $key }} --data-binary @photo.jpg http://ADDRESS:PORT/predictions/{{ .Values.model.name }}
{{- end }}
{{- end }}
{{- if eq $trust " --cacert ca.crt" }}
  with ca.crt by: {{ $kubectl }} get secret {{ $tls }} -o 'go-template={{ "{{" }}index .data "ca.crt" | base64decode{{ "}}" }}' > ca.crt
{{- end }}
Within the cluster: {{ $scheme }}://{{ $name }}.{{ .Release.Namespace }}:{{ .Values.service.ports.http }}, gRPC {{ ternary "with TLS " "" (ne $tls "") }}at {{ $name }}.{{ .Release.Namespace }}:{{ .Values.service.ports.grpc }}, metrics at http://{{ $name }}-metrics.{{ .Release.Namespace }}:8082/metrics

{{- range .Values.ingress.enabled | ternary .Values.ingress.hosts list }}
From outside, by the Ingress: {{ ternary "https" "http" (ne (len $.Values.ingress.tls) 0) }}://{{ . }}/
{{- end }}
{{- range .Values.httpRoute.enabled | ternary .Values.httpRoute.hostnames list }}
From outside, by the HTTPRoute: {{ . }}
{{- end }}
{{- range .Values.grpcRoute.enabled | ternary .Values.grpcRoute.hostnames list }}
From outside, by the GRPCRoute: {{ . }}
{{- end }}

Prove it with pictures whose class is known, {{ if .Values.validation.claimName }}those of {{ .Values.validation.claimName }}{{ else }}the image's own{{ end }}:
  helm --namespace {{ .Release.Namespace }} test {{ .Release.Name }}
{{- if .Values.loadtest.enabled }}

{{ include "catsdogs.loadNotes" . }}
{{- end }}
{{- if .Values.canary.enabled }}

{{ include "catsdogs.canaryNotes" . }}
{{- end }}

What these values mean:
{{- include "catsdogs.remarks" . }}
{{- end -}}

{{- /* One to a line, each with the value that changes it. */ -}}
{{- define "catsdogs.remarks" -}}
{{- $least := include "catsdogs.leastReplicas" . | int -}}
{{- $number := ternary "replicas" "autoscaling.minReplicas" (eq .Values.autoscaling.type "none") -}}
{{- $front := list -}}
{{- range $value := list "ingress" "httpRoute" "grpcRoute" }}
{{- if index $.Values $value "enabled" }}{{ $front = append $front $value }}{{ end }}
{{- end }}
{{- with .Values }}
{{- if and (not (contains "/" .image.repository)) (ne .image.pullPolicy "Never") }}
- image.repository is {{ .image.repository }}, which names no registry, and this image is not published: build it, push it to your registry, and set image.repository to it. A registry is not needed if each node has the image already (kind load, minikube image load).
{{- end }}
{{- if .gpu.enabled }}
{{- $nodes := list -}}
{{- if .gpu.checkNodes -}}
{{- $nodes = (lookup "v1" "Node" "" "").items | default list -}}
{{- end -}}
{{- include "catsdogs.gpuRemark" (list $ $nodes) }}
{{- end }}
{{- if and (not .validation.claimName) (ne .model.source "image") }}
- validation.claimName is empty: `helm test` asks about the image's own cats and dogs, and a model of other classes fails it. Put pictures in folders named by class on a volume, and set validation.claimName to its claim.
{{- end }}
- A pod that is told to go is gone after {{ include "catsdogs.gracePeriod" $ }} s at the latest: it serves for {{ .gateway.drainSeconds }} s more while clients learn of it, and finishes requests for up to {{ .gateway.graceSeconds }} s. What drains nodes must wait for that long.
{{- if lt (int .gateway.drainSeconds) 5 }}
- gateway.drainSeconds is {{ .gateway.drainSeconds }}: endpoints take 1 to 3 s to reach every node, so a rollout may lose requests. 10 is safe within a cluster.
{{- end }}
{{- if and (eq .service.type "LoadBalancer") (lt (int .gateway.drainSeconds) 30) }}
- A cloud's load balancer takes 30 to 60 s to notice that a pod leaves: set gateway.drainSeconds to that.
{{- end }}
{{- if eq $least 0 }}
- replicas is 0: nothing answers.
{{- else if eq $least 1 }}
{{- if .gpu.enabled }}
- {{ $number }} is 1: each rollout leaves a gap of a pod's start, for the old pod must give its GPU up first. So does a node that is drained or lost. There is no PodDisruptionBudget: it would block every drain.
{{- else }}
- {{ $number }} is 1: rollouts leave no gap, but a node that is drained or lost does. There is no PodDisruptionBudget: it would block every drain.
{{- end }}
{{- else if not .pdb.enabled }}
- pdb.enabled is false: all pods may be evicted at once.
{{- end }}
{{- if .gpu.enabled }}
{{- $surge := get (.strategy.rollingUpdate | default dict) "maxSurge" | toString }}
{{- if has (.strategy.type | default "RollingUpdate") (list "Recreate") }}
- strategy is Recreate: each rollout leaves a gap of a pod's start.
{{- else if and .strategy (not (has $surge (list "0" "0%"))) }}
- strategy lets rollouts surge: without a spare {{ .gpu.resourceName }} for {{ .gpu.count }} per surging pod they stand still until progressDeadlineSeconds.
{{- else if and (not .strategy) (gt $least 1) }}
- Rollouts need no spare GPU: they replace one of the {{ $least }} pods at a time, and {{ sub $least 1 }} of {{ $least }} serve meanwhile.
{{- end }}
{{- end }}
{{- if eq .autoscaling.type "keda" }}
- autoscaling.type is keda: without KEDA in the cluster the ScaledObject was refused.
{{- end }}
{{- if and (eq .autoscaling.type "hpa") (eq .autoscaling.metric "requests") }}
- autoscaling.metric is requests: until an adapter offers {{ .autoscaling.podsMetric }}, the number of pods stays as it is. `{{ printf "kubectl --namespace %s" $.Release.Namespace }} describe hpa {{ include "catsdogs.fullname" $ }}` says whether it does.
{{- end }}
{{- if .validation.enabled }}
- validation.enabled is true: an upgrade fails where the pictures do not show an accuracy of {{ .validation.leastAccuracy }} of its new pods, by the lower bound at 95 %, and is taken back where it was given --atomic (Helm 4: --rollback-on-failure). These wait until the rollout is over, so by then clients are answered by the new pods, too. Helm's --timeout must outlast the rollout, and {{ .validation.seconds }} s of asking. What was wrong: `{{ printf "kubectl --namespace %s" $.Release.Namespace }} logs job/{{ include "catsdogs.fullname" $ }}-validation`.
{{- end }}
{{- if .drift.schedule }}
- drift.schedule is {{ .drift.schedule }}: the CronJob {{ include "catsdogs.cronName" (list $ "drift") }} fails if users' pictures differ from the model's reference. Counters are lost with the pod, so after a rollout they start from zero.
{{- end }}
{{- if and .records.claimName (gt $least 1) }}
- records.claimName is {{ .records.claimName }}: pods on several nodes must be able to mount it (ReadWriteMany), or the pods of all nodes but one stay Pending.
{{- end }}
{{- if .loadtest.enabled }}
- loadtest.enabled is true: {{ if .loadtest.hook }}`helm test` puts this release under load{{ else }}this install or upgrade, and each that follows, puts it under load{{ end }} until its users may feel it. What a generator beside a server takes from its processors is counted against the server: give it nodes of its own by loadtest.nodeSelector.
{{- end }}
{{- if not .auth.existingSecret }}
- auth.existingSecret is empty: {{ if $front }}everyone in the cluster, and everyone who reaches its ingress or gateway,{{ else if eq .service.type "ClusterIP" }}everyone in the cluster{{ else }}everyone who reaches the load balancer or a node{{ end }} can use the model.
{{- end }}
{{- with $front }}
- {{ join ", " . }}: what stands in front must let bodies of 16 MiB pass (ingress-nginx: 1 MiB unless told) and wait 30 s for an answer (Envoy: 15 s unless told), or its own errors take the place of ours.
{{- if and $.Values.networkPolicy.enabled $.Values.networkPolicy.from }}
- networkPolicy.from must admit what stands in front, too.
{{- end }}
{{- end }}
{{- if .networkPolicy.enabled }}
- networkPolicy.enabled is true: {{ if .networkPolicy.from }}only networkPolicy.from{{ else }}every pod of the cluster, but nothing outside it,{{ end }} may send requests, and {{ with .networkPolicy.monitoringNamespace }}the namespace {{ . }}{{ else }}nothing{{ end }} may read the metrics, if the network plugin enforces it.
{{- if and (ne .service.type "ClusterIP") (not .networkPolicy.from) }}
- networkPolicy.from is empty: what the {{ .service.type }} brings from outside is shut out. Name its addresses, as [{ipBlock: {cidr: 203.0.113.0/24}}].
{{- end }}
{{- end }}
{{- if .gateway.tls.existingSecret }}
- gateway.tls.existingSecret is {{ .gateway.tls.existingSecret }}: REST and gRPC do not answer plain HTTP. An ingress or gateway in front must use TLS to the pods too{{ if $front }}: an ingress controller by its annotation (nginx.ingress.kubernetes.io/backend-protocol: HTTPS), a Gateway by a BackendTLSPolicy{{ end }}. Metrics stay plain.
{{- if eq .gateway.tls.verify "none" }}
- gateway.tls.verify is none: `helm test` does not verify the certificate.
{{- end }}
{{- end }}
{{- if .feedback.enabled }}
{{- if eq .feedback.store "emptyDir" }}
- feedback.store is emptyDir: feedback is lost with the pod. Set it to pvc or s3 to keep it.
{{- else if and (eq .feedback.store "pvc") (gt $least 1) }}
- feedback.store is pvc: pods on several nodes must be able to mount {{ .feedback.pvc.claimName }} and write to it (ReadWriteMany), or the pods of all nodes but one stay Pending.
{{- else if and (eq .feedback.store "s3") .networkPolicy.enabled (not .networkPolicy.egress) }}
- networkPolicy.egress is empty: no pod can reach the bucket, and feedback is answered 503. Allow its addresses.
{{- end }}
{{- if .feedback.pictures }}
- feedback.pictures is true: pictures of users who agree are stored. Say so in your privacy notice.
{{- end }}
{{- if not .auth.existingSecret }}
- feedback.enabled is true and auth.existingSecret is empty: every client can give feedback, up to {{ .feedback.maxPerSecond }} times a second and pod.
{{- end }}
{{- end }}
{{- if and (eq .model.source "image") (not .model.sha256) (not .image.digest) }}
- Neither model.sha256 nor image.digest is set: which model is served follows from the image's tag, and tags can be moved.
{{- end }}
{{- if and (eq .model.source "pvc") (gt $least 1) }}
- model.source is pvc: {{ .model.pvc.claimName }} must be one that pods on several nodes can mount, or all but one node's stay Pending.
{{- end }}
{{- if include "catsdogs.fetches" $ }}
{{- if and .model.cache.claimName (gt $least 1) }}
- model.cache.claimName is {{ .model.cache.claimName }}: it must be one that pods on several nodes can mount, or all but one node's stay Pending.
{{- else if .model.cache.hostPath }}
- model.cache.hostPath is set: where Pod Security `baseline` or `restricted` is enforced, no pod is let in. Old archives in {{ .model.cache.hostPath }} are yours to remove.
{{- else if not .model.cache.claimName }}
- model.source is {{ .model.source }}: each new pod fetches the archive, and none starts while {{ ternary "that server" "that bucket" (eq .model.source "http") }} cannot be reached. model.cache keeps it on the nodes.
{{- end }}
{{- if and .model.http.existingSecret (hasPrefix "http://" .model.http.url) }}
- model.http.url is not https: whoever listens on the way can read the header of {{ .model.http.existingSecret }}.
{{- end }}
{{- if and (eq .model.source "s3") (not .model.s3.existingSecret) }}
- model.s3.existingSecret is empty: the bucket is asked by the role of the service account, or as anybody where it has none.
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- /*
Of (list CHART NODES): whether there are GPUs. Who may not list nodes would get an error in the place of a warning, so they
are looked at only on request.
*/ -}}
{{- define "catsdogs.gpuRemark" -}}
{{- $resource := (first .).Values.gpu.resourceName -}}
{{- $found := 0 -}}
{{- range $node := last . -}}
{{- $found = add $found (dig "status" "allocatable" dict $node | dig $resource "0" | int) -}}
{{- end -}}
{{- if and (last .) (eq $found 0) }}
- WARNING: gpu.enabled is true, but no node of this cluster has {{ $resource }}: all pods stay Pending. On CPUs: -f values-cpu.yaml. With GPUs: docs/tutorials/gpu-pool.md says what their nodes need.
{{- else if not (last .) }}
- gpu.enabled is true: pods stay Pending where no node has {{ $resource }}. This shows how many each has: kubectl get nodes -o custom-columns='NODE:.metadata.name,GPUS:.status.allocatable.{{ $resource | replace "." "\\." }}'. On CPUs: -f values-cpu.yaml.
{{- end }}
{{- end -}}
