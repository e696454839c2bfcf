# Headgate. Two commands do all the set-up: `make up` runs the gate, `make test` runs every test.

PYTHON ?= python3
VENV   := .venv
unexport PYTHONDONTWRITEBYTECODE  # a gate that is started again and again is compiled once
BIN    := $(VENV)/bin

.PHONY: help up demo test test-engine check lint format types fast bench bench-tail bench-caches bench-economics kills docs prices lock services clean

help:            ## what there is
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

$(VENV)/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Headgate needs Python 3.11 or newer; say which one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "no venv: on Debian and Ubuntu, apt-get install python3-venv"; exit 1; }
	@touch $@

# Everything the gate needs to run, pinned by hash, and the `headgate` command itself.
$(VENV)/run: $(VENV)/made requirements.txt requirements-build.txt pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt -r requirements-build.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev: $(VENV)/run requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

up: $(VENV)/run      ## install and run the gate: keys from the environment, engines found on loopback, else simulated models (PORT=9000)
	$(BIN)/headgate up $(if $(PORT),--port $(PORT)) $(if $(ADMIN_PORT),--admin-port $(ADMIN_PORT))

demo: $(VENV)/run    ## a simulated fleet, direct against through the gate; needs nothing
	$(BIN)/headgate demo

test: $(VENV)/dev services   ## everything CI runs, installing what it needs
	$(MAKE) lint types
	$(BIN)/python tests/real/environments.py
	$(BIN)/python -m pytest -m "not real and not engine" --hypothesis-profile=full --durations=10
	$(BIN)/python -m pytest -n0 -m "real and not engine" --durations=10

check: $(VENV)/dev   ## format, lint, types and the fast tests, in under two minutes
	$(BIN)/ruff format --check .
	$(MAKE) lint types fast

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(VENV)/dev
	$(BIN)/mypy

fast: $(VENV)/dev
	$(BIN)/python -m pytest

test-engine: $(VENV)/dev  ## the gate in front of a real engine; compiles llama.cpp first (minutes)
	$(BIN)/python tests/real/environments.py engine
	$(BIN)/python -m pytest -n0 -m engine

bench: $(VENV)/dev   ## CPU, latency and memory against nginx and a bare hop, side by side
	$(BIN)/python loadtests/bench.py

bench-tail: $(VENV)/dev  ## latency tails beside what gateways commonly do, in virtual time; HEADGATE_TRACES names recorded traffic
	$(BIN)/python -m tests.tail

bench-caches: $(VENV)/dev  ## what each cache is worth beside what others do, in virtual time; HEADGATE_TRACES as above
	$(BIN)/python -m tests.caches

load: $(VENV)/dev   ## Locust users against a gate, with a verdict: make load SCENARIO=smoke (python loadtests/load.py --help)
	$(BIN)/python tests/real/environments.py load
	$(BIN)/python loadtests/load.py $(or $(SCENARIO),smoke)

bench-economics: $(VENV)/dev  ## what quality costs: caches, cascades, quorums, runs, beside the references; HEADGATE_TRACES as above
	$(BIN)/python -m tests.economics

kills: $(VENV)/dev   ## 500 SIGKILLs of random processes of a gate under load, then its books against the upstream's bill
	$(BIN)/python -m tests.workers.kills 500

docs: $(VENV)/dev    ## the generated parts of the reference, from the code
	$(BIN)/python docs/generate.py

prices:              ## a new price book from the package genai-prices, dated today; read what it prints
	$(PYTHON) -m venv .venvs/prices && .venvs/prices/bin/pip install --quiet genai-prices msgspec
	.venvs/prices/bin/python -m pricing.generate_prices --date $$(date -u +%F)

lock: $(VENV)/dev    ## new pins, with hashes, from the ranges in pyproject.toml
	$(BIN)/pip install --quiet pip-tools
	for what in "requirements.txt pyproject.toml" "requirements-build.txt requirements-build.in" "requirements-dev.txt requirements-dev.in"; do \
	  $(BIN)/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --strip-extras --no-header --allow-unsafe -o $$what; done

services:            ## real services that tests talk to, from Debian packages where that is allowed
	@sh tests/services.sh

clean:
	rm -rf $(VENV) .venvs dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
