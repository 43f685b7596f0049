# make install | demo | bench | gpu | check | test | test-all | lint | clean; "make help" says what each does.
SHELL := bash
.SHELLFLAGS := -eo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help install demo bench gpu check test test-all pytest lint clean

# What runs after the installation sees .venv first on PATH, as in an activated environment.
ENV = env PATH="$(CURDIR)/.venv/bin:$$PATH" VIRTUAL_ENV="$(CURDIR)/.venv"

help:
	@echo 'make install   torch, fairseq and this package into .venv (scripts/install.sh)'
	@echo 'make demo      train, translate and score on a corpus it makes itself'
	@echo 'make bench     time and memory of a training step, beside plain training and R-Drop (long)'
	@echo 'make gpu       the precisions, the tests and the times that need a GPU, in at most 10 minutes'
	@echo 'make check     lint, types, shellcheck and the unit tests, in at most a minute: for every save'
	@echo 'make test      lint, types, shellcheck and the tests; installs what they need'
	@echo 'make test-all  the same with the tests that are marked long: benchmarks as a whole, for the most part'
	@echo 'make lint      the checks alone'
	@echo 'make clean     remove caches and build products (not .venv, not results)'

install:
	scripts/install.sh

demo:
	scripts/install.sh --plots
	$(ENV) examples/translation/demo/run.sh

# The shapes one after the other: the first table comes after a few minutes, the last much later.
bench:
	scripts/install.sh
	$(ENV) python -m benchmarks.train_step
	$(ENV) python -m benchmarks.attention_layer

# On a machine without network: the script itself, in an environment that has fairseq and pytest.
gpu:
	scripts/install.sh --dev
	$(ENV) benchmarks/on_gpu.sh

# .venv with what the checks need. It is looked through again when this file is older than what says that.
DEV = .venv/dev-installed
$(DEV): pyproject.toml constraints.txt scripts/install.sh
	scripts/install.sh --dev
	touch $@

lint: $(DEV)
	$(ENV) ruff check .
	$(ENV) ruff format --check .
	$(ENV) mypy
	{ git ls-files --cached --others --exclude-standard '*.sh'; echo .ci/run; } | \
		xargs --max-args 8 --max-procs 8 $(ENV) shellcheck --external-sources

# One file of tests after the other on each core, so that what the tests of a file share is made once; in the order of
# their names, as those with few tests, which xdist would put last, are the longest.
PYTEST = $(ENV) OMP_NUM_THREADS=1 python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile \
	--no-loadscope-reorder

# The tests that tests/unit.py does not skip; those that it does are not worth a line each.
check: lint
	$(PYTEST) --unit -m "not slow and not long" -rfE

# Side by side: without its cache mypy takes a core for most of a minute.
test: $(DEV)
	$(MAKE) --no-print-directory --jobs 2 lint pytest

test-all: lint
	$(PYTEST)

pytest: $(DEV)
	$(PYTEST) -m "not long"

clean:
	rm -rf build/lib build/bdist.* dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find benchmarks lrdrop_fairseq scripts tests examples -name __pycache__ -prune -exec rm -rf {} +
