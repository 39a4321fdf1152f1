# A fresh machine needs make and Python 3.11 or later, nothing else.
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
PYTEST_ARGS ?=
# Public instances and reference results, no part of the project; what needs them is left out
# where they are not there.
SHARED ?= ../shared

BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help demo osrm test benchmark lint clean
.DELETE_ON_ERROR:

help:
	@echo "make demo   train a small model, solve, benchmark and write a report"
	@echo "make osrm   fetch OSRM's executables and two sample maps; tests that need them then run"
	@echo "make test   run the tests"
	@echo "make benchmark RL4CO_PYTHON=…  measure against RL4CO; fail where that has become worse"
	@echo "make lint   check style, types and import directions"
	@echo "make clean  remove the environment, builds and caches; runs/ and results/ stay"

# The stamps stand for an installed environment; a change of versions or of the package renews them.
$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt
	$(PIP_INSTALL) pip setuptools
	$(PIP_INSTALL) -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP_INSTALL) -e '.[dev]'
	touch $@

# Trains, solves one fresh instance, then compares with classical solvers on fresh instances and,
# where the public instances are at hand, on X-n101-k25.
X101 := $(SHARED)/instances/cvrp/X-n101-k25.vrp
demo: $(VENV)/.installed
	$(BIN)/nco train demo-cvrp20
	set -eu; \
	run=$$(ls -d runs/demo-cvrp20/*/ | tail -n 1); run=$${run%/}; \
	$(BIN)/nco data generate cvrp --num-customers 20 --seed 7 --output $$run/fresh.json; \
	$(BIN)/nco solve $$run/fresh.json --solver $$run/model --augment 8 --plot $$run/fresh.png; \
	files=; if [ -f $(X101) ]; then files=$(X101); fi; \
	$(BIN)/nco benchmark benchmark-demo output=$$run/benchmark \
	    solvers.0.solver.path=$$run/model "suites.1.paths=[$$files]"; \
	$(BIN)/nco verify $$run/benchmark; \
	cat $$run/benchmark/report.md

# Into the user's cache, or the folder that NCO_OSRM names; where all is there, a matter of seconds.
osrm: $(VENV)/.installed
	$(PIP_INSTALL) -e '.[roads]'
	$(BIN)/nco data osrm setup --samples

# One thread for each worker: several would only compete for the cores.
test: $(VENV)/.installed-dev
	NCO_SHARED="$(abspath $(SHARED))" OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) $(PYTEST_ARGS)

# Some minutes on an idle machine. RL4CO has an environment of its own: tests/benchmarks/README.md.
benchmark: $(VENV)/.installed
	@test -n "$(RL4CO_PYTHON)" || { echo "RL4CO_PYTHON is not set; accepted: the python of an environment with rl4co 0.7.0 (tests/benchmarks/README.md)"; exit 2; }
	$(BIN)/python tests/benchmarks/compare_rl4co.py --rl4co-python "$(RL4CO_PYTHON)" \
	    --quick --rounds 2 --seconds 3 --check --output results/benchmark

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
