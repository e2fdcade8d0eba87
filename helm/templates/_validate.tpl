{{- /* What one value alone cannot say of itself: the rest is in values.schema.json. All that is wrong is told at once. */ -}}
{{- define "catsdogs.validate" -}}
{{- $wrong := list -}}
{{- $name := include "catsdogs.fullname" $ -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- $advice := regexReplaceAll "[^a-z0-9]+" (lower $name) "-" | trimAll "-0123456789" | default "catsdogs" -}}
{{- $source := printf "The name of the release is %s" .Release.Name -}}
{{- if .Values.fullnameOverride -}}
{{- $source = printf "fullnameOverride is %s" .Values.fullnameOverride -}}
{{- else if not (regexMatch "^[-a-z0-9]*$" .Values.nameOverride) -}}
{{- $source = printf "nameOverride is %s" .Values.nameOverride -}}
{{- end -}}
{{- $wrong = append $wrong (printf "%s, so the Service would be called %s, which Kubernetes refuses: a name has lower-case letters, digits and -, and begins with a letter. Set fullnameOverride, such as %s." $source $name $advice) -}}
{{- end -}}
{{- range $path, $image := dict "image" .Values.image "canary.image" .Values.canary.image "loadtest.image" .Values.loadtest.image -}}
{{- if not (kindIs "string" $image.tag) -}}
{{- $wrong = append $wrong (printf "%s.tag is the number %v, and may have lost digits: write it in quotes, or give it by --set-string." $path $image.tag) -}}
{{- end -}}
{{- end -}}
{{- with .Values -}}
{{- if and .podSecurityContext.runAsUser (eq (int64 .gateway.runAsUser) (int64 .podSecurityContext.runAsUser)) -}}
{{- $wrong = append $wrong (printf "gateway.runAsUser is %d, and so is podSecurityContext.runAsUser, which TorchServe has: a broken gateway could manage it. Choose two." (int64 .gateway.runAsUser)) -}}
{{- end -}}
{{- if and (ne .model.source "image") (not .model.sha256) -}}
{{- $wrong = append $wrong "model.sha256 is empty: an archive that is not in the image is served only if its sha256 is known. Get it by `sha256sum FILE.mar`." -}}
{{- end -}}
{{- if and (trim .model.signature.publicKey) .model.signature.existingConfigMap -}}
{{- $wrong = append $wrong "model.signature.publicKey and model.signature.existingConfigMap are both set: choose one." -}}
{{- end -}}
{{- if and (include "catsdogs.signed" $) (contains "?" .model.http.url) -}}
{{- $wrong = append $wrong "model.http.url has a query, and the signature is fetched from the same address with .sig behind it: name an address without a query, or leave model.signature out." -}}
{{- end -}}
{{- $needed := dict "pvc.claimName" "the PersistentVolumeClaim that holds the archive" "http.url" "the archive's address" "s3.bucket" "the bucket that holds the archive" "s3.key" "the archive's key in the bucket" "oci.reference" "the image that holds the archive" -}}
{{- range $path := list "pvc.claimName" "http.url" "http.existingSecret" "s3.bucket" "s3.key" "s3.endpoint" "s3.region" "s3.existingSecret" "oci.reference" -}}
{{- $source := splitList "." $path | first -}}
{{- $value := get (get $.Values.model $source) (splitList "." $path | last) -}}
{{- if and (eq $.Values.model.source $source) (hasKey $needed $path) (not $value) -}}
{{- $wrong = append $wrong (printf "model.source is %s: set model.%s to %s." $source $path (get $needed $path)) -}}
{{- end -}}
{{- if and (ne $.Values.model.source $source) $value -}}
{{- $wrong = append $wrong (printf "model.%s is set, but model.source is %s: set model.source to %s, or leave this out." $path $.Values.model.source $source) -}}
{{- end -}}
{{- end -}}
{{- with .feedback -}}
{{- if and .enabled (eq .store "pvc") (not .pvc.claimName) -}}
{{- $wrong = append $wrong "feedback.store is pvc: set feedback.pvc.claimName to the PersistentVolumeClaim that feedback is stored on." -}}
{{- end -}}
{{- if and .enabled (eq .store "s3") (not .s3.bucket) -}}
{{- $wrong = append $wrong "feedback.store is s3: set feedback.s3.bucket to the bucket that feedback is stored in." -}}
{{- end -}}
{{- range $path := list "pvc.claimName" "s3.bucket" "s3.endpoint" "s3.region" "s3.existingSecret" -}}
{{- $store := splitList "." $path | first -}}
{{- if and (ne $.Values.feedback.store $store) (get (get $.Values.feedback $store) (splitList "." $path | last)) -}}
{{- $wrong = append $wrong (printf "feedback.%s is set, but feedback.store is %s: set feedback.store to %s, or leave this out." $path $.Values.feedback.store $store) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (eq .model.source "oci") (semverCompare "<1.33.0-0" $.Capabilities.KubeVersion.Version) -}}
{{- $wrong = append $wrong (printf "model.source is oci, which needs image volumes: Kubernetes can since 1.33 (by default since 1.35), and this is %s. Set model.source to http, s3 or pvc." $.Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- if and .model.cache.hostPath .model.cache.claimName -}}
{{- $wrong = append $wrong "model.cache.hostPath and model.cache.claimName are both set: choose one." -}}
{{- end -}}
{{- if and (or .model.cache.hostPath .model.cache.claimName) (not (include "catsdogs.fetches" $)) -}}
{{- $wrong = append $wrong (printf "model.cache is for what is fetched, but model.source is %s: set model.source to http or s3, or leave the cache out." .model.source) -}}
{{- end -}}
{{- $least := include "catsdogs.leastGracePeriod" $ | int -}}
{{- if and .terminationGracePeriodSeconds (lt (int .terminationGracePeriodSeconds) $least) -}}
{{- $wrong = append $wrong (printf "terminationGracePeriodSeconds is %d: gateway.drainSeconds + gateway.graceSeconds + 15 for TorchServe need at least %d, or requests are lost. Leave it at 0, or lower those." (int .terminationGracePeriodSeconds) $least) -}}
{{- end -}}
{{- $turn := include "catsdogs.turnSeconds" $ | int -}}
{{- if and .progressDeadlineSeconds (le (int .progressDeadlineSeconds) $turn) -}}
{{- $wrong = append $wrong (printf "progressDeadlineSeconds is %d: stopping a pod,%s startupSeconds and minReadySeconds alone may take %d, so a good rollout could be called a failed one. Set it higher, or leave it at 0." (int .progressDeadlineSeconds) (ternary " model.fetchSeconds," "" (include "catsdogs.fetches" $ | eq "true")) $turn) -}}
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
{{- range $key := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "track" "pod-revision" -}}
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
{{- $wrong = append $wrong "runtime is torch, which the `-cpu` image does not hold: leave runtime empty, set gpu.enabled, or name an image that has torch by image.tag." -}}
{{- end -}}
{{- if and (eq .service.type "ClusterIP") (or .service.nodePorts.http .service.nodePorts.grpc) -}}
{{- $wrong = append $wrong "service.nodePorts are set, but service.type is ClusterIP: set it to NodePort or LoadBalancer, or leave them at 0." -}}
{{- end -}}
{{- if and (ne .service.type "LoadBalancer") .service.loadBalancerSourceRanges -}}
{{- $wrong = append $wrong (printf "service.loadBalancerSourceRanges are set, but service.type is %s: set it to LoadBalancer, or leave them out." .service.type) -}}
{{- end -}}
{{- if and (eq .service.type "ClusterIP") .service.externalTrafficPolicy -}}
{{- $wrong = append $wrong "service.externalTrafficPolicy is set, but service.type is ClusterIP: set it to NodePort or LoadBalancer, or leave this out." -}}
{{- end -}}
{{- if and (gt (len .service.ipFamilies) 1) (not (hasSuffix "DualStack" .service.ipFamilyPolicy)) -}}
{{- $wrong = append $wrong "service.ipFamilies names two families: set service.ipFamilyPolicy to PreferDualStack or RequireDualStack, or name one." -}}
{{- end -}}
{{- if eq (int .service.ports.http) (int .service.ports.grpc) -}}
{{- $wrong = append $wrong (printf "service.ports.http and service.ports.grpc are both %d: choose two." (int .service.ports.http)) -}}
{{- end -}}
{{- if and .ingress.enabled (not .ingress.hosts) -}}
{{- $wrong = append $wrong "ingress.enabled is true, but ingress.hosts is empty: name the hosts that it answers to." -}}
{{- end -}}
{{- range $certificate := .ingress.tls -}}
{{- range $host := $certificate.hosts -}}
{{- if not (has $host $.Values.ingress.hosts) -}}
{{- $wrong = append $wrong (printf "ingress.tls has a certificate for %s, which is not in ingress.hosts: add it there, or leave it out here." $host) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $value := list "httpRoute" "grpcRoute" -}}
{{- if and (index $.Values $value "enabled") (not (index $.Values $value "parentRefs")) -}}
{{- $wrong = append $wrong (printf "%s.enabled is true, but %s.parentRefs is empty: name the Gateway that carries it, as [{name: public, namespace: gateways}]." $value $value) -}}
{{- end -}}
{{- end -}}
{{- if and .httpRoute.enabled .grpcRoute.enabled (deepEqual .httpRoute.parentRefs .grpcRoute.parentRefs) (deepEqual .httpRoute.hostnames .grpcRoute.hostnames) -}}
{{- $wrong = append $wrong "httpRoute and grpcRoute have the same parentRefs and hostnames: a Gateway takes only one of them. Give each its hostnames, or another sectionName." -}}
{{- end -}}
{{- if and (not .networkPolicy.enabled) (or .networkPolicy.from .networkPolicy.monitoringNamespace .networkPolicy.egress) -}}
{{- $wrong = append $wrong "networkPolicy names who may connect, but networkPolicy.enabled is false, so everybody may: set it to true, or leave from, monitoringNamespace and egress out." -}}
{{- end -}}
{{- if and .networkPolicy.enabled (or .metrics.podMonitor.enabled .metrics.serviceMonitor.enabled .metrics.scrapeAnnotations) (not .networkPolicy.monitoringNamespace) -}}
{{- $wrong = append $wrong "metrics are to be read, but networkPolicy.monitoringNamespace is empty, so nobody may: set it to Prometheus' namespace." -}}
{{- end -}}
{{- if and .metrics.podMonitor.enabled .metrics.serviceMonitor.enabled -}}
{{- $wrong = append $wrong "metrics.podMonitor and metrics.serviceMonitor are both enabled: every pod would be read twice. Enable one." -}}
{{- end -}}
{{- if and .serviceAccount.annotations (not .serviceAccount.create) -}}
{{- $wrong = append $wrong "serviceAccount.annotations are set, but serviceAccount.create is false, so there is nothing to put them on: set it to true." -}}
{{- end -}}
{{- if and .canary.watch.enabled (not .canary.watch.prometheusUrl) .canary.watch.selector -}}
{{- $wrong = append $wrong "canary.watch.selector selects series, but canary.watch.prometheusUrl is empty, so nobody is asked for them: set it, or leave the selector out." -}}
{{- end -}}
{{- if and .canary.watch.enabled (gt (int .canary.watch.intervalSeconds) (int .canary.watch.seconds)) -}}
{{- $wrong = append $wrong "canary.watch.intervalSeconds is longer than canary.watch.seconds: make it shorter, so that there is a round." -}}
{{- end -}}
{{- if and .validation.enabled (eq (include "catsdogs.leastReplicas" $ | int) 0) -}}
{{- $wrong = append $wrong "validation.enabled is true, but replicas is 0, so there is no pod to ask: set replicas to 1 or more, or validation.enabled to false." -}}
{{- end -}}
{{- if and .records.claimName (not .records.enabled) -}}
{{- $wrong = append $wrong "records.claimName is set, but records.enabled is false, so nothing is recorded: set it to true, or leave this out." -}}
{{- end -}}
{{- if .loadtest.enabled -}}
{{- if eq (include "catsdogs.leastReplicas" $ | int) 0 -}}
{{- $wrong = append $wrong "loadtest.enabled is true, but replicas is 0, so there is no pod to ask: set replicas to 1 or more, or loadtest.enabled to false." -}}
{{- end -}}
{{- with .loadtest -}}
{{- if or (eq (include "catsdogs.loadImage" $) (include "catsdogs.image" $)) (and (not .image.digest) (regexMatch "-(cpu|gpu)$" (toString .image.tag))) -}}
{{- $wrong = append $wrong (printf "loadtest.image is %s, an image that serves and has nothing to make load with: name the one made by `--target load` of Dockerfile.serve, or leave it empty." (include "catsdogs.loadImage" $)) -}}
{{- end -}}
{{- if and (gt (int .pods) 1) (gt (int .processes) 1) -}}
{{- $wrong = append $wrong (printf "loadtest.pods is %d and loadtest.processes %d: each of several pods is one process. Set loadtest.processes to 1 and raise loadtest.pods, or loadtest.pods to 1." (int .pods) (int .processes)) -}}
{{- end -}}
{{- if and .slo (not (hasKey (.slo.gates | default dict) .gate)) -}}
{{- $wrong = append $wrong (printf "loadtest.gate is %s, which loadtest.slo has not: add it to loadtest.slo.gates, or name one that is there%s." .gate (ternary (printf ", of %s" (keys (.slo.gates | default dict) | sortAlpha | join ", ")) "" (ne (len (.slo.gates | default dict)) 0))) -}}
{{- end -}}
{{- if and .pictures.claimName .pictures.configMapName -}}
{{- $wrong = append $wrong "loadtest.pictures.claimName and loadtest.pictures.configMapName are both set: choose one." -}}
{{- end -}}
{{- if ne (empty .pictures.configMapName) (empty .pictures.items) -}}
{{- $wrong = append $wrong "loadtest.pictures.configMapName and loadtest.pictures.items go together: set both, the name of a ConfigMap and the class of each of its pictures, or leave both out." -}}
{{- end -}}
{{- if and .pictures.path (not .pictures.claimName) -}}
{{- $wrong = append $wrong "loadtest.pictures.path is set, but loadtest.pictures.claimName is empty: name the claim in which that folder is, or leave it out." -}}
{{- end -}}
{{- $wait := include "catsdogs.loadWait" $ | int -}}
{{- if le (int .activeDeadlineSeconds) $wait -}}
{{- $wrong = append $wrong (printf "loadtest.activeDeadlineSeconds is %d: waiting for a pod that is ready may take %d alone. Set it higher, or loadtest.waitSeconds lower." (int .activeDeadlineSeconds) $wait) -}}
{{- end -}}
{{- end -}}
{{- if and .gateway.tls.existingSecret (eq .gateway.tls.verify "none") -}}
{{- $wrong = append $wrong "loadtest.enabled is true, but gateway.tls.verify is none, and a load test believes nobody without asking: set gateway.tls.verify to ca or system." -}}
{{- end -}}
{{- end -}}
{{- if .canary.enabled -}}
{{- $canary := include "catsdogs.canary" $ | fromJson -}}
{{- $ownImage := ne (include "catsdogs.image" $) (include "catsdogs.image" $canary) -}}
{{- $ownAddress := false -}}
{{- range $source, $paths := include "catsdogs.canaryAddresses" $ | fromYaml -}}
{{- range $path := $paths -}}
{{- $parts := splitList "." $path -}}
{{- $value := get (get $.Values.canary.model $source) (last $parts) -}}
{{- if and $value (ne $source $.Values.model.source) -}}
{{- $wrong = append $wrong (printf "canary.model.%s is set, but model.source is %s, and the canary's model comes from where that of stable does: leave it out, or roll out another source first." $path $.Values.model.source) -}}
{{- end -}}
{{- if and (eq $source $.Values.model.source) $value (ne $value (get (get $.Values.model $source) (last $parts))) -}}
{{- $ownAddress = true -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (not $ownImage) (not $ownAddress) (eq .model.sha256 $canary.Values.model.sha256) -}}
{{- $wrong = append $wrong "canary.enabled is true, but nothing differs from stable: name another image by canary.image, or another archive by canary.model, or set canary.enabled to false." -}}
{{- end -}}
{{- if and $ownAddress (eq .model.sha256 $canary.Values.model.sha256) -}}
{{- $wrong = append $wrong "canary.model names another archive, but canary.model.sha256 is empty, or that of stable: set it to what that archive has. Get it by `sha256sum FILE.mar`." -}}
{{- end -}}
{{- if and (ne .model.source "image") (not $ownAddress) (ne .model.sha256 $canary.Values.model.sha256) -}}
{{- $wrong = append $wrong (printf "canary.model.sha256 is another than model.sha256, but both archives would lie at one address: set canary.model.%s, too." (get (include "catsdogs.canaryAddresses" $ | fromYaml) .model.source | last)) -}}
{{- end -}}
{{- if and (eq .model.source "image") (not $ownImage) .canary.model.sha256 (ne .model.sha256 .canary.model.sha256) -}}
{{- $wrong = append $wrong "canary.model.sha256 is set, but the canary's image is that of stable, in which there is one archive: name the canary's by canary.image." -}}
{{- end -}}
{{- if and (eq .model.source "image") $ownImage .model.sha256 (not .canary.model.sha256) -}}
{{- $wrong = append $wrong "model.sha256 is set, and canary.image names another image: set canary.model.sha256 to what the archive in it has, be it the same." -}}
{{- end -}}
{{- if and (ge (int .canary.weight) 0) (not .httpRoute.enabled) (not .grpcRoute.enabled) -}}
{{- $wrong = append $wrong (printf "canary.weight is %d, but httpRoute and grpcRoute are off, and nothing else goes by it: enable one of them, or leave it at -1." (int .canary.weight)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with $wrong -}}
{{- fail (printf "\n\n%s\n" (join "\n" .)) -}}
{{- end -}}
{{- end -}}
