# Sekisho. `make help` lists the targets; `make demo` and `make test` do all set-up themselves.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

# The compile cache of tests and demo: the plane is compiled once a checkout, not once a run.
export NUMBA_CACHE_DIR ?= $(CURDIR)/.cache/numba
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Bytecode is kept here whatever the environment says: each process of the tests would read all of them anew.
unexport PYTHONDONTWRITEBYTECODE

# The environment is made anew when the project's definition changes, and only then.
DEFINITION := $(shell sha256sum pyproject.toml 2>/dev/null | cut -c1-16)
STAMP      := $(VENV)/.sekisho-$(DEFINITION)

.DEFAULT_GOAL := help
.PHONY: help venv demo test checks lint types imports unit property scenarios kernel peers-installed peers uncompiled fuzz differential \
        fuzz-replay fuzz-minimise soak bench bench-all bench-installed bench-all-installed \
        schema schema-check format coverage clean compiled-plane compiled-control

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(STAMP) ## the virtual environment with everything the project needs

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Sekisho needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) --version). Say which: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Making the virtual environment in $(VENV) ..."; $(PYTHON) -m venv $(VENV) || { \
	  rm -rf $(VENV); \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y python3-venv && $(PYTHON) -m venv $(VENV); \
	  else echo "python3 -m venv failed; on Debian: apt-get install python3-venv"; exit 1; fi; }

$(STAMP): pyproject.toml | $(BIN)/python
	@echo "Installing dependencies ..."
	@$(BIN)/python -m pip install -q --no-compile -e '.[dev]'
	@$(BIN)/python -m compileall -qq -j 2 -x '/tests?/' $(VENV)/lib || true # not all that packages bring is meant for this Python
	@$(BIN)/python -m compileall -q daemon/sekisho exporters
	@rm -f $(VENV)/.sekisho-* && touch $@

demo: venv ## the main job on an embedded default: real queries, blocked and answered by clause
	@$(BIN)/python -m sekisho.app.demo

# Two at a time: packages are installed beside the environment, and what needs nothing compiled is checked beside the compiling.
# Then the tests, a file of them in one of three processes: three for two processors, since much of them is waiting for daemons.
test: ## everything: lint, types, imports, schema, all tests
	@$(MAKE) --no-print-directory -j 2 peers-installed venv
	@$(MAKE) --no-print-directory -j 2 --output-sync=target checks
	@$(BIN)/python -m pytest -q -n 3 --dist loadfile

checks: lint compiled-plane types imports schema-check compiled-control uncompiled

lint: venv ## ruff
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --check --quiet . && echo "ruff: clean"

format: venv ## ruff's formatter over the whole tree
	@$(BIN)/ruff format .

types: venv ## mypy --strict
	@$(BIN)/mypy --strict

imports: venv ## import-linter: imports go down only
	@$(BIN)/lint-imports --no-logo

schema: venv ## write the JSON Schemas of files into policies/ and of events into exporters/schemas/
	@$(BIN)/python -m sekisho.terms.schema policies/
	@$(BIN)/python -m sekisho_exporters.schemas exporters/schemas/

schema-check: venv
	@folder=$$(mktemp -d) && $(BIN)/python -m sekisho.terms.schema $$folder \
	  && for made in $$folder/*; do cmp -s $$made policies/$${made##*/} \
	     || { echo "policies/$${made##*/} is not current: run make schema and commit it"; rm -r $$folder; exit 1; }; done \
	  && rm -r $$folder
	@folder=$$(mktemp -d) && $(BIN)/python -m sekisho_exporters.schemas $$folder && diff -rq $$folder exporters/schemas \
	     || { rm -r $$folder; echo "exporters/schemas is not current: run make schema and commit it"; exit 1; }; \
	  rm -r $$folder && echo "schema: current"

# After the environment was made, which may install a package too.
peers-installed: | $(BIN)/python
	@sh tests/peers/install.sh

# Before the tests, so that not each of their processes compiles it.
compiled-plane: venv
	@$(BIN)/python -m sekisho.app.plane --compile

compiled-control: venv
	@$(BIN)/python -m sekisho.app.control --compile

uncompiled: venv ## tests marked so, with the compiled code run as plain Python
	@echo "pytest, not compiled:"
	@NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest -q -m uncompiled

unit: venv ## unit tests alone
	@$(BIN)/python -m pytest -q tests/unit

property: venv ## property tests, deep
	@HYPOTHESIS_PROFILE=deep $(BIN)/python -m pytest -q tests/property

scenarios: venv ## scenarios in virtual time
	@$(BIN)/python -m pytest -q tests/scenarios

kernel: venv peers-installed ## what the kernel does to lines, in network namespaces (root)
	@$(BIN)/python -m pytest -q tests/kernel

peers: venv peers-installed ## tests against real servers and clients
	@$(BIN)/python -m pytest -q tests/peers

differential: venv peers-installed ## the same questions to every front, a thousand of one world and hundreds of seeds (SEEDS=300 FIRST_SEED=0 FRONTS=plane,unbound,...)
	@$(BIN)/python -m sekisho.app.plane --compile
	@SEEDS=$(or $(SEEDS),300) FIRST_SEED=$(or $(FIRST_SEED),0) $(if $(FRONTS),FRONTS=$(FRONTS)) $(BIN)/python -m pytest -q tests/peers/test_differential.py

fuzz: venv ## guided mutants of packets and feeds for minutes (FUZZ_SECONDS=120 FUZZ_PACKETS=0 FUZZ_TARGETS=)
	@PYTHONPATH=tests $(BIN)/python -m support.fuzzing fuzz --seconds $(or $(FUZZ_SECONDS),120) --packets $(or $(FUZZ_PACKETS),0) \
	  $(if $(FUZZ_SEED),--seed $(FUZZ_SEED)) $(foreach target,$(FUZZ_TARGETS),--target $(target))

fuzz-replay: venv ## one input again: TARGET=queries HEX=... (CHOICE=...)
	@PYTHONPATH=tests $(BIN)/python -m support.fuzzing replay $(TARGET) $(HEX) $(if $(CHOICE),--choice $(CHOICE))

fuzz-minimise: venv ## keep of the fuzzers' corpus what its features and, not compiled, the lines of the source need
	@PYTHONPATH=tests NUMBA_DISABLE_JIT=1 $(BIN)/python -m support.fuzzing minimise $(foreach target,$(FUZZ_TARGETS),--target $(target))

soak: venv peers-installed ## an hour at half load, ten minutes of all loads together, 200 months with sudden deaths (SOAK_SECONDS=3600 LOAD_SECONDS=600 LOAD_CUSTOMERS=1000000 KILLED_MONTHS=200)
	@SOAK_SECONDS=$${SOAK_SECONDS:-3600} LOAD_SECONDS=$${LOAD_SECONDS:-600} LOAD_CUSTOMERS=$${LOAD_CUSTOMERS:-1000000} \
	  KILLED_MONTHS=$${KILLED_MONTHS:-200} \
	  $(BIN)/python -m pytest -q -s tests/soak tests/property/test_measure_kills.py

# In the order they are named in, and what each takes told at the end.
MEASURE := $(BIN)/python -m pytest -q -s -p no:randomly --durations=0 --durations-min=1 --override-ini 'norecursedirs=.*'
COMPARED := compare path start growth flood

bench-installed: | $(BIN)/python
	@sh tests/bench/install.sh

bench-all-installed: | $(BIN)/python
	@sh tests/bench/install.sh all

bench: venv bench-installed compiled-plane compiled-control ## beside dnsdist, Unbound and Knot DNS; the path, start, growth, a flood; a quiet machine, twenty minutes (BENCH_QUICK=1: six)
	@$(MEASURE) $(COMPARED:%=tests/bench/test_%.py)

bench-all: venv bench-all-installed compiled-plane compiled-control ## all that is measured; a quiet machine, root, forty minutes (BENCH_QUICK=1: twelve; BENCH_LARGE=1: large sites too)
	@$(MEASURE) $(COMPARED:%=tests/bench/test_%.py) $(filter-out $(COMPARED:%=tests/bench/test_%.py),$(sort $(wildcard tests/bench/test_*.py)))

coverage: venv ## branch coverage: both passes together
	@rm -f .coverage .coverage.*
	@NUMBA_DISABLE_JIT=1 $(BIN)/python -m coverage run -m pytest -q -m uncompiled
	@$(BIN)/python -m coverage run -m pytest -q
	@$(BIN)/python -m coverage combine -q && $(BIN)/python -m coverage report

clean: ## remove caches and the virtual environment
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist .coverage .coverage.*
	find daemon exporters tests -name __pycache__ -type d -exec rm -rf {} +
