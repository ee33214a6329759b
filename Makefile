.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO := runs/demo

.PHONY: help setup demo test lint types unit bench clean

help:  ## show what the targets do
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

setup: $(READY)  ## make .venv with the package and its tools (about 6 GB, most of it PyTorch)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-compile -c constraints.txt -e '.[dev]'
	$(BIN)/ushape mods >/dev/null && $(BIN)/ushape nets >/dev/null  # their costs are counted once, then cached
	@touch $@

demo: $(READY)  ## does unet+residual beat unet? On procedural tissue, in about 4 minutes on 2 cores
	$(BIN)/ushape data phantom $(DEMO)/phantom --patients 12 --seed 0
	$(BIN)/ushape compare 'unet[width=12,levels=4]' 'unet[width=12,levels=4]+residual' \
		--data $(DEMO)/phantom --out $(DEMO)/study --folds 2 --recipe recipes/demo.yaml

test: $(READY) lint types unit  ## everything that checks the project: style, types, tests

lint: $(READY)
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks

types: $(READY)
	$(BIN)/mypy

unit: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

bench: $(READY)  ## measure speed on a quiet machine and write benchmarks/results/
	$(BIN)/python benchmarks/training.py

clean:  ## remove the demo's files and the caches of the tools
	rm -rf $(DEMO) .pytest_cache .mypy_cache .ruff_cache .hypothesis build src/*.egg-info
