.PHONY: demo test lint bench mutants clean

VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.installed

# The whole set-up of a fresh machine; runs again only when the dependencies change.
$(STAMP): pyproject.toml
	test -x $(PYTHON) || python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --upgrade uv
	$(VENV)/bin/uv pip install --quiet --python $(PYTHON) -e ".[all,dev]"
	touch $(STAMP)

demo: $(STAMP)
	$(PYTHON) -m examples.gan.demo

# Two single-threaded workers beat one worker with two threads: the tests are many small kernels.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n 2

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

bench: $(STAMP)
	$(PYTHON) -m benchmarks.run

mutants: $(STAMP)
	OMP_NUM_THREADS=1 $(VENV)/bin/mutmut run

clean:
	rm -rf $(VENV) build dist *.egg-info mutants
