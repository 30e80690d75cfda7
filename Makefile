# What people type here; `make` alone lists it. Every target sets up .venv by itself.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
FREIGHT := examples/freight
DEMO := build/demo
DATA ?= ../shared/data/ner
BASE ?= embedded

.PHONY: help setup demo test test-all lint format docs bench clean

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

setup: .venv/.installed  ## create .venv with the tested versions (constraints.txt)

.venv/.installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "nerx needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	@echo "installing nerx and its tools; the first time this downloads PyTorch and takes some minutes ..."
	$(INSTALL) -e '.[dev]'
	@touch $@

demo: export PATH := $(CURDIR)/$(BIN):$(PATH)
demo: setup  ## train on the freight example, extract, evaluate, show the entities; with BASE=smollm2, on a real LLM
	nerx fit $(FREIGHT)/seeds.jsonl --base $(BASE) --out $(DEMO)/adapter --overwrite
	nerx extract $(FREIGHT)/corpus.parquet --adapter $(DEMO)/adapter --out $(DEMO)/corpus.nerx.parquet --overwrite
	nerx eval $(DEMO)/adapter $(FREIGHT)/gold.jsonl
	nerx view $(DEMO)/corpus.nerx.parquet --rows 12

# Two processes of one thread each keep two cores busy: 2,248 tests in 4 min 40 s.
test: setup  ## the tests, without the slow ones
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

test-all: setup  ## the tests, with the slow ones, those of a Ray cluster and those of Spark (Java 17)
	$(INSTALL) -e '.[ray,spark]'
	$(BIN)/python -m pytest

# mypy names a package after its folder, and a clone may be called anything: it reads the tree as .venv/typing/nerx.
lint: setup  ## ruff, mypy --strict on the package, and the English of the pages
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	@mkdir -p .venv/typing && ln -sfn ../.. .venv/typing/nerx
	MYPYPATH=.venv/typing $(BIN)/mypy -m nerx -m nerx.__main__ -p nerx.cli -p nerx.adapters -p nerx.engine
	$(BIN)/python docs/check_english.py

format: setup  ## let ruff put imports and layout in order
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: setup  ## write docs/help.md from the help pages
	$(BIN)/python docs/build_help.py

bench: setup  ## the quick benchmarks, each under 10 minutes on two cores
	$(INSTALL) -e '.[bench]'
	$(BIN)/python -m benchmarks.speed.decoding --quick --data "$(DATA)"
	@if [ -d "$(DATA)" ]; then $(BIN)/python -m benchmarks.quality.few_shot --quick --data "$(DATA)"; \
		else echo "few_shot left out, there are no NER sets at $(DATA): make bench DATA=/path/to/ner"; fi

clean:  ## remove what was built; keeps .venv
	rm -rf build dist nerx.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
