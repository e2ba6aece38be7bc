# ArchGym: `make demo` and `make test` need Python 3.11 or newer and nothing else.
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# What is installed in .venv, and whether that is still what these files ask for.
CORE := $(VENV)/.core
FULL := $(VENV)/.full
ASKED := setup.cfg pyproject.toml constraints.txt
# By hand the tests that take long are left to `make test-slow`; CI runs them all at once.
MARKS := $(if $(CI),,-m "not slow")
# Networks this small train faster on one thread, many times so on a busy machine; the processes
# that share the tests out are as many as the cores, and no more than memory holds anywhere.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadgroup --durations=15

.PHONY: help demo test test-slow lint wheel kernels bench docs clean

help:
	@echo "make demo       search a DRAM controller's designs with three agents"
	@echo "make test       lint, check types, build and check the wheel, run the tests"
	@echo "make test-slow  the tests that take long"
	@echo "make lint       ruff and mypy"
	@echo "make bench      measure speed"
	@echo "make docs       write the generated pages again and check the links"
	@echo "make clean      remove .venv and what was built"

$(VENV)/pyvenv.cfg:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer must be installed; set PYTHON=" >&2; exit 1; }
	@echo "== Creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

$(CORE): $(VENV)/pyvenv.cfg $(ASKED)
	@echo "== Installing ArchGym's core into $(VENV) (about a minute)"
	@$(PIP) install -c constraints.txt -e .
	@touch $@

# Few of the extras' modules are ever imported. Python compiles a module when it first is, and must
# be let keep the result, or each process would compile it anew.
export PYTHONDONTWRITEBYTECODE :=
$(FULL): $(VENV)/pyvenv.cfg $(ASKED)
	@echo "== Installing ArchGym with all extras into $(VENV) (several minutes)"
	@$(PIP) install --no-compile -c constraints.txt -e '.[all,dev]'
	@touch $(CORE) $@

demo: $(CORE)
	@sh examples/demo.sh $(BIN)/archgym

lint: $(FULL)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

wheel: $(FULL)
	$(BIN)/python tests/check_wheel.py

kernels: $(FULL)
	$(BIN)/python tests/compile_kernels.py

test: $(FULL)
	@echo "== Checking style, types and the wheel, while the simulators' kernels are compiled"
	@$(MAKE) --no-print-directory --jobs=2 kernels lint wheel
	@echo "== Running the tests"
	$(PYTEST) $(MARKS)

test-slow: $(FULL)
	$(PYTEST) -m slow

bench: $(FULL)
	$(BIN)/python benchmarks/dram.py
	$(BIN)/python benchmarks/agents.py
	$(BIN)/python benchmarks/journal.py
	$(BIN)/python benchmarks/tables.py
	$(BIN)/python benchmarks/translation.py
	$(BIN)/python benchmarks/moe.py
	$(BIN)/python benchmarks/moe_routing.py
	$(BIN)/python benchmarks/accelerator.py
	$(BIN)/python benchmarks/report.py

docs: $(FULL)
	$(BIN)/python docs/generate.py

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
