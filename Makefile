# Every target installs what it needs into .venv first; nothing here needs root.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PACKAGES := libs/hop libs/modelstore libs/artifact libs/valkey services/registry services/features services/speech services/translate services/ranking/ranking services/ranking/retrieval services/gateway deploy/local models/fraud models/recommender models/phrases models/whisper-micro models/phrase-translator
EDITABLE := $(patsubst %/retrieval,%/retrieval[cpu],$(foreach package,$(PACKAGES),-e ./$(package)))
SOURCES := constraints.txt pyproject.toml $(PACKAGES:%=%/pyproject.toml)

ifneq ($(shell command -v npm),)
BUF_CHECK := $(MAKE) --no-print-directory buf
else
BUF_CHECK := @echo 'skipped: buf lint, format and breaking need Node (npm)'
endif

help: ## what each target does
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | expand -t 12

# A stamp of our own, because somebody may have made the environment already, with an older pip.
$(VENV)/tools:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Trunkline needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt pip hatchling editables
	@touch $@

$(VENV)/protos: $(VENV)/tools protos/pyproject.toml protos/generate.py $(shell find protos/trunkline -name '*.proto')
	$(PIP) install --quiet --constraint constraints.txt --force-reinstall --no-deps ./protos
	@touch $@

$(VENV)/run: $(VENV)/protos $(SOURCES)
	$(PIP) install --quiet --constraint constraints.txt --no-build-isolation $(EDITABLE)
	@touch $@

$(VENV)/dev: $(VENV)/run
	$(PIP) install --quiet --constraint constraints.txt --no-build-isolation --group dev -e './models/fraud[train]' -e './models/recommender[train]' -e './services/speech[sherpa]'
	@touch $@

protos: $(VENV)/protos ## build and install the stubs from protos/

demo: $(VENV)/run ## run the suite and show it at work, act by act
	$(BIN)/trunkline demo

up: $(VENV)/run ## run the suite in the background
	$(BIN)/trunkline up --detach

down: $(VENV)/run ## stop it
	$(BIN)/trunkline down

test: $(VENV)/dev ## every test, on real embedded servers
	$(BIN)/python -m pytest -n 2 -m 'not long'

test-long: $(VENV)/dev ## the randomised claims at full size
	$(BIN)/python -m pytest -n 2 -m 'long or hypothesis' --hypothesis-profile=long

# Real translation servers, each in an environment of its own: 4 GB. Apertium comes from the system, as
# apertium-eng-spa and apertium-eng-cat. Where torch comes with CUDA, and the machine has no GPU, set
# PIP_EXTRA_INDEX_URL to the index of its CPU builds.
engines: .engines/triton/ready .engines/vllm/ready ## real Triton and vLLM servers for test-engines

# Triton's Python backend wants Debian's own interpreter.
.engines/triton/ready: tests/engines/triton.txt | $(VENV)/tools
	/usr/bin/python3.11 -m venv --without-pip .engines/triton
	$(PIP) --python .engines/triton/bin/python install --quiet --requirement $<
	@touch $@

.engines/vllm/ready: tests/engines/vllm.txt | $(VENV)/tools
	$(PYTHON) -m venv --without-pip .engines/vllm
	$(PIP) --python .engines/vllm/bin/python install --quiet --requirement $<
	$(PIP) --python .engines/vllm/bin/python uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@

test-engines: $(VENV)/dev engines ## translation through real Triton, vLLM and Apertium servers
	TRUNKLINE_TEST_ENGINES=1 $(BIN)/python -m pytest tests/engines

check: $(VENV)/dev ## format, lint, types, Dockerfiles, contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy $(PACKAGES:%=%/src)
	$(BIN)/hadolint $(shell find services -name Dockerfile)
	$(BUF_CHECK)

buf: node_modules
	node_modules/.bin/buf lint
	node_modules/.bin/buf format --diff --exit-code
	node_modules/.bin/buf breaking --against protos/released.binpb

# The contracts of the last release; `make released` renews it when one is made.
released: node_modules
	node_modules/.bin/buf build -o protos/released.binpb

node_modules: package.json
	npm install --no-package-lock --no-audit --no-fund --silent
	@touch $@

models: $(VENV)/dev ## retrain the models that ship
	$(BIN)/python -m trunkline_fraud.train
	$(BIN)/python -m trunkline_recommender.train

bench: $(VENV)/dev ## load and peer comparisons, as ratios
	$(BIN)/python -m bench

.PHONY: help protos demo up down test test-long engines test-engines check buf released models bench
.DEFAULT_GOAL := help
