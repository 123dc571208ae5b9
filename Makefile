# Two commands do everything: `make demo` and `make test`. Each makes .venv if there is none.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Default thread counts are many times slower on a shared machine; the tests run side by side instead.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

.PHONY: demo test coverage torture lint results gpu slurm clean

demo: $(VENV)/.core
	$(BIN)/dsabench compare simclr simclr+dsa --output results/demo

test: $(VENV)/.dev
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2

# What writes, resumes, claims and unpacks: no branch of it goes untested.
KEPT := dsabench/files.py,dsabench/signals.py,dsabench/data/sources/archives.py,$\
	dsabench/data/sources/downloads.py,dsabench/launch/journal.py,$\
	dsabench/training/checkpoint.py,dsabench/training/lock.py,dsabench/training/migration.py,$\
	dsabench/training/record.py,dsabench/training/run.py,dsabench/training/store.py

coverage: $(VENV)/.dev
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 --cov=dsabench --cov-branch --cov-report=
	$(BIN)/python -m coverage report --skip-covered --fail-under=90
	$(BIN)/python -m coverage report --show-missing --fail-under=100 --include=$(KEPT)

# Harm that is done on purpose to stores, files, disks and processes; what fills disks of its own wants root.
torture: $(VENV)/.dev
	$(ONE_THREAD) $(BIN)/python -m benchmarks.torture

# What one GPU is wanted for, with no network: FOLDER/wheels has what is not installed, FOLDER/cifar-10-batches-py the images.
# OPTIONS="--device cpu --smoke" shows on any machine that all of it runs.
FOLDER ?= data
OPTIONS ?=
gpu:
	test ! -d $(FOLDER)/wheels || $(PYTHON) -m pip install --quiet --no-index $(FOLDER)/wheels/*.whl
	$(PYTHON) -m benchmarks.gpu --data $(FOLDER) $(OPTIONS)

# A Slurm of one node, started for the test; it wants Debian's slurm-wlm and munge.
slurm: $(VENV)/.dev
	REAL_SLURM=1 $(ONE_THREAD) $(BIN)/python -m pytest tests/launch/test_real_slurm.py

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Tables and figures of README.md and results/, and the pages beside each table, from the committed rows; nothing is trained.
results: $(VENV)/.dev
	$(ONE_THREAD) $(BIN)/python -m benchmarks.results

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "dsabench needs Python >= 3.11; name one, as in: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing dsabench and torch into $(VENV): some 6 GB on Linux, a few minutes"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing dsabench, torch and the development tools into $(VENV): some 6 GB on Linux, a few minutes"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
