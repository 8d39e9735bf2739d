# `make run` starts a server, `make test` and `make lint` check the tree. Everything they need goes to .venv.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SYNAPSE := .synapse-venv
DATA ?= data
TRIAL_JOBS ?= 2
# Of pip: quiet, and no look at the network for a newer pip.
PIP_FLAGS ?= --quiet --disable-pip-version-check

# Where tests find the specification's OpenAPI data. Absolute, because `trial -j` changes the directory.
POPCUBE_SPEC ?= $(abspath ../shared/spec)
export POPCUBE_SPEC

.PHONY: help run install install-test install-synapse test lint bench bench-smoke demo-sites clean

help:
	@echo "make run    start a server on http://127.0.0.1:8008, data in ./$(DATA)"
	@echo "make test   run every test (TRIAL_JOBS=$(TRIAL_JOBS) processes); installs Synapse in $(SYNAPSE) for some of them"
	@echo "make lint   ruff and mypy"
	@echo "make bench  compare this server with Synapse (BENCH_FLAGS=--quick)"
	@echo "make demo-sites  two sites of one organization: a load, one site burns, people go on, it is built again"
	@echo "make clean  remove $(VENV), $(SYNAPSE) and what the tools leave; ./$(DATA) stays"

run: $(VENV)/.installed $(DATA)/homeserver.yaml
	@exec $(BIN)/popcube-server serve -c $(DATA)/homeserver.yaml

# Written once, on the first start. Afterwards it is the operator's file: nothing here rewrites it.
$(DATA)/homeserver.yaml: | $(VENV)/.installed
	@mkdir -p $(DATA)
	@$(BIN)/popcube-server generate-config --server-name localhost --data-directory $(DATA) \
		--open-registration -o $@

install: $(VENV)/.installed

install-test: $(VENV)/.installed-test

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || \
		{ echo "Python 3.11 or newer is needed: apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is too old: Python 3.11 or newer is needed (make PYTHON=/path/to/python3.11)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "Debian keeps venv in a package of its own: apt-get install python3-venv"; exit 1; }
	@echo "Making $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: setup.cfg pyproject.toml | $(BIN)/python
	@echo "Installing popcube-server and what it needs (the first time takes a minute)"
	@$(BIN)/python -m pip install $(PIP_FLAGS) --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@echo "Installing what the tests need"
	@$(BIN)/python -m pip install $(PIP_FLAGS) --editable '.[test]'
	@touch $@

# A real Synapse, for tests to federate with and for the benchmark, in an environment of its own: it is a program
# beside ours, none of whose packages ours may see. The tests find it here, or where POPCUBE_SYNAPSE_PYTHON says.
install-synapse: $(SYNAPSE)/.installed

$(SYNAPSE)/.installed: | $(BIN)/python
	@echo "Installing matrix-synapse in $(SYNAPSE) (the first time takes a minute)"
	@$(BIN)/python -m venv $(SYNAPSE)
	@$(SYNAPSE)/bin/python -m pip install $(PIP_FLAGS) matrix-synapse psycopg2-binary
	@touch $@

test: $(VENV)/.installed-test
	@$(MAKE) --no-print-directory install-synapse || echo "The tests that federate with Synapse will skip."
	$(BIN)/python -m twisted.trial -j$(TRIAL_JOBS) tests

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# docs/performance.md says what is measured. The results go to .bench.
BENCH_FLAGS ?=

bench: $(VENV)/.installed-test $(SYNAPSE)/.installed
	$(BIN)/python -m benchmarks --synapse-python $(SYNAPSE)/bin/python $(BENCH_FLAGS)

bench-smoke: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks --smoke --server ours --database sqlite --output .bench/smoke $(BENCH_FLAGS)

# What a visitor wants to see; needs nothing but what `make run` installs. DEMO_FLAGS="--people 20 --seconds 10"
DEMO_FLAGS ?=

demo-sites: $(VENV)/.installed
	@$(BIN)/python -m benchmarks.demo_sites $(DEMO_FLAGS)

clean:
	rm -rf $(VENV) $(SYNAPSE) _trial_temp* .mypy_cache .ruff_cache .hypothesis build *.egg-info
