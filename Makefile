# `make demo` sets up and runs the embedded grid; `make test` sets up and passes the tests, `make quick` alone
# those that run no workflow; `make bench-scoring`, `make bench-training` and `make bench-metrics` set up and compare with
# what users would take instead (QUICK=1: in two or three minutes).
# Needs Python 3.11 or newer (with its venv module), git and make.
PYTHON ?= python3
CORES ?= $(shell nproc)
BIN = .venv/bin
SNAKEMAKE = PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake --configfile config/demo.yaml --cores $(CORES)
PEER = .venv/peer
LINTERS = lint-types lint-workflow lint-demo lint-style

.PHONY: demo quick unit test lint $(LINTERS) lock verify bench-scoring bench-training bench-metrics

# One at a time in a folder; the lock that a killed one left behind is removed.
demo: .venv/installed
	@flock --nonblock --close --conflict-exit-code 9 .venv/demo.lock sh -ec '\
	  $(SNAKEMAKE) --unlock --quiet all; \
	  $(SNAKEMAKE) --rerun-incomplete --show-failed-logs --quiet rules host reason --keep-going \
	    all_tables headline_figures' || { \
	  test $$? -ne 9 || echo "make demo is running in this folder already" >&2; \
	  echo "The demo is not complete; make demo goes on where it stopped." >&2; exit 1; }
	@echo
	@echo "Tables:  $$(ls results/tables/table*.csv | tr '\n' ' ')"
	@echo "         results/tables/<benchmark>/<language>.csv, and .tex of each"
	@echo "Figures: $$(ls results/figs/reliability_*.svg | tr '\n' ' ')"
	@echo "More:    snakemake --configfile config/demo.yaml --cores $(CORES) all_figures"

# The ten slowest are printed. A file's tests stay together, for what they share, the long ones first; four processes take
# 5 GB. The cluster has its own: tests/slurm/run.
PYTEST = $(BIN)/python -m pytest --numprocesses $(CORES) --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations=10

# Linters and types beside the tests that run no workflow.
quick: .venv/installed
	@$(MAKE) --no-print-directory --jobs 2 --keep-going unit $(LINTERS)

unit: .venv/installed
	$(PYTEST) tests/unit

test: .venv/installed lint
	$(PYTEST) tests/workflow tests/unit

# Side by side: what each says stays together.
lint: .venv/installed
	@$(MAKE) --no-print-directory --jobs $(CORES) --output-sync --keep-going $(LINTERS)

lint-types:
	$(BIN)/mypy

lint-workflow:
	$(BIN)/snakemake --lint

lint-demo:
	$(BIN)/snakemake --lint --configfile config/demo.yaml

lint-style:
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/snakefmt --check Snakefile workflow/helpers workflow/rules

# Every artifact of results/ against its provenance: make verify CONFIG=config/demo.yaml; DEEP=1: each row and all weights.
verify: .venv/installed
	@$(BIN)/python workflow/scripts/verify_results.py $(if $(CONFIG),--configfile $(CONFIG)) $(if $(DEEP),--deep)

# The peers live in an environment of their own, of its own lock file.
bench-scoring bench-training: bench-%: .venv/installed $(PEER)/installed
	PYTHONPATH=workflow/scripts $(BIN)/python benchmarks/$*.py --peer-python $(PEER)/bin/python $(if $(QUICK),--quick)

# Here the peer is a library of the test environment. WORK=folder keeps the synthetic scores (10 GB) there.
bench-metrics: .venv/installed
	PYTHONPATH=workflow/scripts $(BIN)/python benchmarks/measuring.py $(if $(QUICK),--quick) $(if $(WORK),--work "$(WORK)")

$(PEER)/installed: benchmarks/requirements.lock .venv/installed
	$(PYTHON) -m venv $(PEER)
	$(PEER)/bin/pip install --quiet --disable-pip-version-check --requirement benchmarks/requirements.lock
	touch $@

.venv/installed: requirements.lock
	@$(PYTHON) -c 'import sys, venv, ensurepip; assert sys.version_info >= (3, 11)' || \
	  { echo "Python 3.11 or newer with its venv module is needed (Debian: apt install python3-venv)," \
	         "or name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.lock
	touch $@

# The lock file from pyproject.toml, with pip-tools, and what follows from it. torch's build (CPU, CUDA) is left to the index
# that serves it.
lock:
	$(PYTHON) -m venv .venv/lock
	.venv/lock/bin/pip install --quiet pip-tools
	.venv/lock/bin/pip-compile --quiet --upgrade --extra test --strip-extras --no-emit-index-url --no-emit-find-links \
	  --no-emit-trusted-host --no-header --annotation-style=line --output-file requirements.lock pyproject.toml
	sed -i 's/^\(torch==[0-9.]*\)+[a-z0-9]*/\1/' requirements.lock
	$(PYTHON) envs/conda.py > envs/calgrid.yaml
