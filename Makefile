# ArchGym: `make demo` and `make test` need Python 3.11 or newer and nothing else.
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Stamps of installed sets; they are remade if one of the files in ASKED changes.
CORE := $(VENV)/.core
FULL := $(VENV)/.full
SITE := $(VENV)/.site
ASKED := setup.cfg pyproject.toml constraints.txt requirements/core.txt $(addprefix requirements/,full.txt remote.txt)
# Every file is compared with its SHA-256; ArchGym itself is built by the setuptools among them.
PINNED := install --no-deps --require-hashes
# PyTorch and its libraries are left to pip: their builds differ by machine.
LEFT := torch triton $(addprefix cuda-,bindings pathfinder toolkit) $(addprefix nvidia-, \
	cublas cuda-cccl cuda-cupti cuda-nvrtc cuda-runtime cudnn-cu13 cufft cufile cusolver cusparse \
	cusparselt-cu13 nccl-cu12 nccl-cu13 nvjitlink nvshmem-cu13 nvtx)
# Interactive runs leave slow tests to `make test-slow`; CI leaves those of every night to it.
MARKS := -m "not nightly$(if $(CI),, and not slow)"
# Small networks train faster on one thread. Many tests wait for processes: run one more at once
# than there are cores, at most four.
# Tests start hundreds of processes, which read compiled modules.
unexport PYTHONDONTWRITEBYTECODE
WORKERS := $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n < 3 ? n + 1 : 4)))
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --durations=15

.PHONY: help demo test test-slow pytest lint style types wheel kernels bench leaderboard paper docs site dist
.PHONY: constraints hashes sbom audit confirm fuzz islands clean

help:
	@echo "make demo       search how to serve Mixtral 8x7B from a 24 GB card, with three agents"
	@echo "make test       lint, check types, build and check the wheel, run the tests"
	@echo "make test-slow  run the slow tests"
	@echo "make lint       ruff, codespell and mypy"
	@echo "make bench      measure speed"
	@echo "make leaderboard  verify the submissions in leaderboard/ and write their page to build/"
	@echo "make paper      make the figures of the paper, and compare their numbers with the record"
	@echo "make docs       regenerate the reference pages and check the links"
	@echo "make site       build the documentation site in build/site"
	@echo "make dist       build the wheel and the source archive in dist/ and check them"
	@echo "make constraints  write the versions of .venv to constraints.txt, and their hashes (needs uv)"
	@echo "make audit      compare the pinned versions with known vulnerabilities"
	@echo "make sbom       list what the core installs in build/archgym.cdx.json (CycloneDX)"
	@echo "make islands    run the core's tests in a copy with one simulator"
	@echo "make fuzz       read mutated files of all formats for SECONDS=60"
	@echo "make confirm    compare exported designs with SCALE-Sim itself"
	@echo "make clean      remove .venv and what was built"

$(VENV)/pyvenv.cfg:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer must be installed; set PYTHON=" >&2; exit 1; }
	@echo "== Creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

$(CORE): $(VENV)/pyvenv.cfg $(ASKED)
	@echo "== Installing ArchGym's core into $(VENV) (about a minute)"
	@$(PIP) $(PINNED) -r requirements/core.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

# Let Python keep compiled modules, or each process would compile them again.
export PYTHONDONTWRITEBYTECODE :=
$(FULL): $(VENV)/pyvenv.cfg $(ASKED)
	@echo "== Installing ArchGym with all extras into $(VENV) (several minutes)"
	@$(PIP) $(PINNED) --no-compile -r requirements/full.txt
	@$(PIP) install --no-compile --no-build-isolation -c constraints.txt -e '.[all,dev]'
	@$(PIP) $(PINNED) --no-compile -r requirements/remote.txt
	@touch $(CORE) $@

$(SITE): $(CORE)
	@echo "== Installing what builds the documentation site"
	@$(PIP) install -c constraints.txt -e '.[docs]'
	@touch $@

demo: $(CORE)
	@sh examples/demo.sh $(BIN)/archgym

lint: style types

style: $(FULL)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell README.md CONTRIBUTING.md archgym benchmarks docs evidence examples experiments

types: $(FULL)
	$(BIN)/mypy

wheel: $(FULL)
	$(BIN)/python tests/check_wheel.py

kernels: $(FULL)
	$(BIN)/python -m tests.compile_kernels

# Types and the wheel are checked next to the kernels and the tests, so that no core is idle.
test: style
	@echo "== Compiling the simulators' kernels, then running the tests; checking types and the wheel"
	@$(MAKE) --no-print-directory --jobs=2 pytest types wheel

pytest: kernels
	$(PYTEST) $(MARKS)

test-slow: $(FULL)
	$(PYTEST) -m 'slow or nightly'

bench: $(FULL)
	$(BIN)/python benchmarks/control.py
	$(BIN)/python benchmarks/dram.py
	$(BIN)/python benchmarks/journal.py
	$(BIN)/python benchmarks/tables.py
	$(BIN)/python benchmarks/translation.py
	$(BIN)/python benchmarks/moe.py
	$(BIN)/python benchmarks/moe_routing.py
	$(BIN)/python benchmarks/accelerator.py
	$(if $(ARCHGYM_REFERENCE),$(BIN)/python -m benchmarks.cluster --reference $(ARCHGYM_REFERENCE))
	$(BIN)/python benchmarks/soc.py
	$(BIN)/python benchmarks/auto.py
	$(BIN)/python benchmarks/report.py

leaderboard: $(CORE)
	test -d leaderboard/own-agents || $(BIN)/archgym bench run auto genetic random --seeds 2 --budget 50 \
		--task soc-small-edp --task accelerator-mapping-table-edp --task accelerator-mapping-late-latency \
		--out leaderboard/own-agents
	$(BIN)/python experiments/leaderboard.py leaderboard build/leaderboard --replay

paper: $(CORE)
	$(BIN)/python paper/figures.py --check
	$(BIN)/python paper/figures.py

docs: $(FULL)
	$(BIN)/python docs/generate.py

site: $(SITE)
	$(BIN)/python docs/site/build.py

# The time of the last commit makes archives that are equal byte for byte.
dist: $(SITE)
	rm -rf dist
	umask 022 && export SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct 2>/dev/null || echo 315532800) && \
		$(BIN)/python -m build --outdir dist . && \
		$(BIN)/python tests/pack_sdist.py dist/*.tar.gz
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python -m check_wheel_contents dist/*.whl

# Run after tests have passed with newer versions. PyTorch is left to pip: its builds differ by machine.
constraints: $(FULL) $(SITE)
	{ head -1 constraints.txt; $(PIP) freeze --exclude-editable \
		| grep -viE '^(torch|torchvision|nvidia-.*|triton|cuda-.*)(==| @)' | LC_ALL=C sort -f; } > constraints.new
	mv constraints.new constraints.txt
	$(MAKE) --no-print-directory hashes

HASHES := uv pip compile --quiet --generate-hashes --no-header --no-annotate --universal \
	--python-version 3.11 -c constraints.txt setup.cfg requirements/build.in
hashes:
	$(HASHES) -o requirements/core.txt
	$(HASHES) --extra all --extra dev $(addprefix --no-emit-package ,$(LEFT)) \
		-o requirements/full.txt

# Two tools in an environment of their own, so that they are not among what they list.
AUDIT := build/audit
$(AUDIT)/bin/pip-audit:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer must be installed; set PYTHON=" >&2; exit 1; }
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip --quiet install cyclonedx-bom==7.5.0 pip-audit==2.10.1

# Minutes are for every day; the nightly workflow takes ten: make fuzz SECONDS=600.
SECONDS := 60
fuzz: $(FULL)
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

islands: $(FULL)
	$(BIN)/python tests/check_islands.py soc

sbom: $(AUDIT)/bin/pip-audit
	$(AUDIT)/bin/cyclonedx-py requirements --output-reproducible --output-file build/archgym.cdx.json \
		requirements/core.txt

audit: $(AUDIT)/bin/pip-audit
	$(AUDIT)/bin/pip-audit --disable-pip --require-hashes -r requirements/core.txt
	$(AUDIT)/bin/pip-audit --disable-pip --require-hashes -r requirements/full.txt

# SCALE-Sim needs an older NumPy than ArchGym, and has an environment of its own.
SCALESIM := build/scalesim
$(SCALESIM)/.installed: $(CORE)
	$(BIN)/python -m venv $(SCALESIM)
	$(SCALESIM)/bin/python -m pip --quiet install scalesim==3.0.0 'numpy<2' 'pandas<3'
	@touch $@

confirm: $(FULL) $(SCALESIM)/.installed
	ARCHGYM_SCALESIM=$(abspath $(SCALESIM)) $(BIN)/python -m pytest -n 0 tests/cli/test_confirm.py

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
