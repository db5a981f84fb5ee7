# Every target does its own set-up: a virtual environment in .venv, filled once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.installed-docs
OUT ?= runs/demo
CASES ?= 10000
KILLS ?= 200
SEED ?= 0

.PHONY: demo test lint types tests coverage slow fuzz kills docs models clean

# The main job on an embedded model: half the multiply-accumulates, one report.
demo: $(STAMP)
	$(BIN)/compress run digits_resnet --penalty l1-l2 --target-macs 0.5 --out $(OUT)

test: lint types tests

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini

# One thread a test process: many small networks, so threads would only wait for each other.
tests: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

# The same, and which lines they run; tracing takes 40 % longer before Python 3.12.
coverage: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --cov --cov-report term

slow: $(STAMP)
	OMP_NUM_THREADS=2 $(BIN)/pytest -m slow

# The campaign: so many mutated files of every kind against the commands that read them; a quarter of an hour.
fuzz: $(STAMP)
	PYTHONPATH=tests $(BIN)/python -m fuzz files --count $(CASES) --seed $(SEED)

# So many random signals, nine disks that fill up, fifty races of two commands in one folder.
kills: $(STAMP)
	PYTHONPATH=tests $(BIN)/python -m fuzz kills --count $(KILLS) --seed $(SEED)
	PYTHONPATH=tests $(BIN)/python -m fuzz disks --seed $(SEED)
	PYTHONPATH=tests $(BIN)/python -m fuzz races --seed $(SEED)

# The site, in site/; a broken link or a name that does not exist fails it.
docs: $(DOCS_STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The commands that made the embedded models; each takes minutes.
models: $(STAMP)
	$(BIN)/python models/make.py

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "compressor needs Python 3.11 or newer; try: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $(STAMP)

$(DOCS_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[docs]"
	touch $(DOCS_STAMP)

clean:
	rm -rf $(VENV) build dist site .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache
