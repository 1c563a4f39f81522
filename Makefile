# Every target installs what it needs into $(VENV) first, once. On Linux without a GPU, save a 3 GB download with
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make setup
VENV ?= .venv
PYTHON ?= python3
DATASET ?= multi-dsprites
TRYOUT ?= /tmp/lavae-rl-tryout
RUN ?= runs/$(DATASET)-fast-seed0

BIN = $(VENV)/bin
INSTALLED = $(VENV)/.installed

.PHONY: help setup pretrain test coverage check docs format dist tryout clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## install the package and its tools, at the tested versions, into .venv (VENV=...)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --constraint constraints.txt --editable '.[dev,docs,rllib]'
	touch $@

pretrain: $(INSTALLED) ## train a LAVAE on multi-dsprites (DATASET=...), or go on where an earlier try stopped
	$(BIN)/python pretrain/train_lavae.py --dataset $(DATASET) --out $(RUN) $(if $(wildcard $(RUN)/config.json),--resume)

test: $(INSTALLED) ## run the tests and the examples in the docstrings
	$(BIN)/pytest

coverage: $(INSTALLED) ## run the tests, print the lines and branches that none of them reached, fail under the limit
	$(BIN)/pytest --cov

check: $(INSTALLED) ## look for faults of format, style, types, spelling and prose
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy lavae_rl envs agents pretrain tests benchmarks
	$(BIN)/codespell
	$(BIN)/pytest --quiet --noconftest tests/test_prose.py

# Strict: a broken link or a page without a place in the navigation is an error.
docs: $(INSTALLED) ## build the documentation site into build/site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

format: $(INSTALLED) ## format the code and mend what can be mended without thought
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

# What an earlier build left in build/ would be packed again, deleted files included. The wheel is built from the sdist.
dist: $(INSTALLED) ## build the sdist and the wheel into dist/, and check both as PyPI does
	rm -rf build dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

tryout: dist ## install the wheel and all it needs into an empty environment, and run the README's Python there
	rm -rf $(TRYOUT)
	$(PYTHON) -m venv $(TRYOUT)
	$(TRYOUT)/bin/pip install --constraint constraints.txt "$$(ls dist/*.whl)[atari]"
	awk '/^```python/ {on = 1; next} /^```/ {on = 0} on' README.md > $(TRYOUT)/readme.py
	cd $(TRYOUT) && bin/python readme.py

clean: ## delete what building and checking left behind (not .venv or runs/)
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -path './.*' -prune -o -name __pycache__ -prune -exec rm -rf {} +
