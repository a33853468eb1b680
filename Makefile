# One task file; continuous integration calls the same targets.
PYTHON ?= python3.11
HOST ?= 127.0.0.1
PORT ?= 8000
BUNDLES ?= models/bundles
ACCELERATOR ?= $(shell test "$$(uname -sm)" = "Linux x86_64" && test -e /proc/driver/nvidia/version && echo gpu || echo cpu)
DATA ?= data

SERVE := .venv-$(ACCELERATOR)
DEV := .venv-dev
PIP_FLAGS := --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: help serve test test-all test-pages check format train phenomena bench bench-gradients bench-serving \
        bench-scores bench-promises verdicts coverage soak clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

$(SERVE)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(SERVE)
	$(SERVE)/bin/pip install $(PIP_FLAGS) --editable '.[$(ACCELERATOR)]'
	@touch $@

$(DEV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DEV)
	$(DEV)/bin/pip install $(PIP_FLAGS) torch
	$(DEV)/bin/pip install $(PIP_FLAGS) --editable '.[cpu,export,train,dev]'
	@touch $@

serve: $(SERVE)/installed  ## serve the bundles in BUNDLES on HOST:PORT
	@exec $(SERVE)/bin/python -m service --host $(HOST) --http-port $(PORT) --bundles $(BUNDLES)

test: $(DEV)/installed  ## the default tests
	$(DEV)/bin/python -m pytest

test-all: $(DEV)/installed  ## the default tests and the slow ones
	$(DEV)/bin/python -m pytest -m ''

test-pages: $(DEV)/installed  ## the pages, driven in a real Chromium
	$(DEV)/bin/python -m pytest -m pages

check: $(DEV)/installed  ## lint and types
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/mypy

format: $(DEV)/installed  ## rewrite the code in the project's format
	$(DEV)/bin/ruff check --fix .
	$(DEV)/bin/ruff format .

clean:  ## remove the environments
	rm -rf .venv-cpu .venv-gpu $(DEV)
