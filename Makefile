# Everything a person runs. `make help` lists it.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
SEED ?= 0

help: ## List what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile \
		-c constraints.txt -e '.[dev]'
	-$(BIN)/python -m compileall -q -j 0 .venv/lib # by all cores; pip would take one
	touch $(READY)

setup: $(READY) ## Make .venv with every dependency, pinned

demo: setup ## Scan the pictures that ship, find what the heads do, ask in SQL
	$(BIN)/headatlas demo

test: setup ## Run the tests, in two processes
	$(BIN)/python -m pytest -n 2

test-slow: setup ## Run the tests that take minutes
	$(BIN)/python -m pytest -m slow

lint: setup ## ruff, mypy and the layers between packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup ## Measure, and print one table
	$(BIN)/python -m benchmarks

docs: setup ## Write the generated pages of docs/
	$(BIN)/python -m docs.generate

architecture: setup ## Draw docs/images/architecture.svg from the imports
	$(BIN)/python -m docs.architecture

picture: setup ## Make the pictures of the README (after make demo)
	$(BIN)/python -m demo.world sheet docs/images/world.png --rows 3 --columns 7
	$(BIN)/python -m docs.picture headatlas-demo docs/images/heads.png
	$(BIN)/headatlas map headatlas-demo/pictures/images/000001.png "an octopus" "a lawn" \
		--warehouse headatlas-demo -o docs/images/map.png

screenshots: setup ## Take the explorer's pictures of the README (after make demo; needs Chromium)
	$(BIN)/python -m docs.screenshots headatlas-demo docs/images

demo-model: setup ## Train the small CLIP that ships (an hour or two on two cores); SEED=1: another, into data/
	$(BIN)/python -m demo.train --seed $(SEED)

demo-card: setup ## Measure the small CLIP and write its model card
	$(BIN)/python -m demo.card

.PHONY: help setup demo test test-slow lint bench docs architecture picture screenshots demo-model demo-card
