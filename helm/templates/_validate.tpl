{{- /* What one value alone cannot say of itself: the rest is in values.schema.json. All that is wrong is told at once. */ -}}
{{- define "catsdogs.validate" -}}
{{- $wrong := list -}}
{{- with .Values -}}
{{- if and (ne .model.source "image") (not .model.sha256) -}}
{{- $wrong = append $wrong "model.sha256 is empty: an archive that is not in the image is served only if its sha256 is known. Get it by `sha256sum FILE.mar`." -}}
{{- end -}}
{{- if and (eq .model.source "pvc") (not .model.pvc.claimName) -}}
{{- $wrong = append $wrong "model.source is pvc: set model.pvc.claimName to the PersistentVolumeClaim that holds the archive." -}}
{{- end -}}
{{- if and (ne .model.source "pvc") .model.pvc.claimName -}}
{{- $wrong = append $wrong (printf "model.pvc.claimName is set, but model.source is %s: set model.source to pvc, or leave the claim out." .model.source) -}}
{{- end -}}
{{- $least := include "catsdogs.leastGracePeriod" $ | int -}}
{{- if and .terminationGracePeriodSeconds (lt (int .terminationGracePeriodSeconds) $least) -}}
{{- $wrong = append $wrong (printf "terminationGracePeriodSeconds is %d: gateway.drainSeconds + gateway.graceSeconds + 15 for TorchServe need at least %d, or requests are lost. Leave it at 0, or lower those." (int .terminationGracePeriodSeconds) $least) -}}
{{- end -}}
{{- $turn := include "catsdogs.turnSeconds" $ | int -}}
{{- if and .progressDeadlineSeconds (le (int .progressDeadlineSeconds) $turn) -}}
{{- $wrong = append $wrong (printf "progressDeadlineSeconds is %d: stopping a pod, startupSeconds and minReadySeconds alone may take %d, so a good rollout could be called a failed one. Set it higher, or leave it at 0." (int .progressDeadlineSeconds) $turn) -}}
{{- end -}}
{{- $rolling := .strategy.rollingUpdate | default dict -}}
{{- if and (has (get $rolling "maxSurge" | toString) (list "0" "0%")) (has (get $rolling "maxUnavailable" | toString) (list "0" "0%")) -}}
{{- $wrong = append $wrong "strategy.rollingUpdate has maxSurge 0 and maxUnavailable 0: no pod could ever be replaced. Set one of them to 1." -}}
{{- end -}}
{{- with .autoscaling -}}
{{- if gt (int .minReplicas) (int .maxReplicas) -}}
{{- $wrong = append $wrong (printf "autoscaling.minReplicas is %d and autoscaling.maxReplicas %d: raise the latter, or lower the former." (int .minReplicas) (int .maxReplicas)) -}}
{{- end -}}
{{- if and (ne .type "none") (eq .metric "cpu") $.Values.gpu.enabled -}}
{{- $wrong = append $wrong "autoscaling.metric is cpu, which says little of a GPU's load: set it to requests (README, Scaling)." -}}
{{- end -}}
{{- if and (ne .type "none") (eq .metric "cpu") (not (dig "requests" "cpu" "" ($.Values.torchserve.resources | default dict))) -}}
{{- $wrong = append $wrong "autoscaling.metric is cpu, a share of what is requested, but torchserve.resources.requests has no cpu: set it." -}}
{{- end -}}
{{- if and (eq .type "keda") (eq .metric "requests") (not .prometheus.serverAddress) -}}
{{- $wrong = append $wrong "autoscaling.type is keda and its metric requests: set autoscaling.prometheus.serverAddress to the Prometheus that KEDA shall ask." -}}
{{- end -}}
{{- end -}}
{{- range $key := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "track" -}}
{{- range $value := list "commonLabels" "podLabels" -}}
{{- if hasKey (get $.Values $value) $key -}}
{{- $wrong = append $wrong (printf "%s sets %s, by which the Deployment and the Services find their pods: choose another label." $value $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $resources := .torchserve.resources -}}
{{- if or (hasKey ($resources.limits | default dict) .gpu.resourceName) (hasKey ($resources.requests | default dict) .gpu.resourceName) -}}
{{- $wrong = append $wrong (printf "torchserve.resources names %s: leave it out, and set gpu.enabled, gpu.resourceName and gpu.count." .gpu.resourceName) -}}
{{- end -}}
{{- if and (eq .runtime "torch") (not .gpu.enabled) (not .image.tag) (not .image.digest) -}}
{{- $wrong = append $wrong "runtime is torch, which the `-cpu` image does not hold: set runtime to mnn or leave it empty, set gpu.enabled, or name an image that has torch by image.tag." -}}
{{- end -}}
{{- if and (eq .service.type "ClusterIP") (or .service.nodePorts.http .service.nodePorts.grpc) -}}
{{- $wrong = append $wrong "service.nodePorts are set, but service.type is ClusterIP: set it to NodePort or LoadBalancer, or leave them at 0." -}}
{{- end -}}
{{- if eq (int .service.ports.http) (int .service.ports.grpc) -}}
{{- $wrong = append $wrong (printf "service.ports.http and service.ports.grpc are both %d: choose two." (int .service.ports.http)) -}}
{{- end -}}
{{- if and .serviceAccount.annotations (not .serviceAccount.create) -}}
{{- $wrong = append $wrong "serviceAccount.annotations are set, but serviceAccount.create is false, so there is nothing to put them on: set it to true." -}}
{{- end -}}
{{- end -}}
{{- with $wrong -}}
{{- fail (printf "\n\n%s\n" (join "\n" .)) -}}
{{- end -}}
{{- end -}}
