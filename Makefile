.PHONY: demo test test-lowest test-wheel lint docs bench gpu mutants clean

VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.installed
LOWEST := .venv-lowest
CORE_TESTS := tests/functional tests/losses tests/transforms tests/adapters tests/cli \
	$(addprefix tests/test_,constants.py doctor.py guarantees.py package.py policy.py presets.py registry.py sampling.py schedules.py)
# setuptools: torch 2.5 compiles with it and does not ask for it.
TEST_TOOLS := hypothesis prdc pytest pytest-xdist scikit-image scikit-learn scipy setuptools

# Tests start many processes, and each of them would compile what it imports: half a minute for Lightning on two ranks.
export PYTHONDONTWRITEBYTECODE :=

# The whole set-up of a fresh machine; runs again only when the dependencies change.
$(STAMP): pyproject.toml
	test -x $(PYTHON) || python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --upgrade uv
	$(VENV)/bin/uv pip install --quiet --python $(PYTHON) -e ".[all,dev]"
	touch $(STAMP)

demo: $(STAMP)
	$(PYTHON) -m examples.demo

# Two single-threaded workers beat one worker with two threads: the tests are many small kernels. The long ones come in a
# row, so that a worker which is done takes over from the other.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n 2 --dist worksteal

# The oldest supported versions, as pyproject.toml names them, in an environment of their own. What they depend on is
# new, and warns of it.
test-lowest: $(LOWEST)/.installed
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest -n 2 --dist worksteal -W ignore::DeprecationWarning $(CORE_TESTS)

$(LOWEST)/.installed: pyproject.toml | $(STAMP)
	$(VENV)/bin/uv venv --quiet --clear --python $(PYTHON) $(LOWEST)
	$(VENV)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct \
		-r pyproject.toml $(addprefix --extra ,albumentations cli lightly numba torchvision)
	$(VENV)/bin/uv pip install --quiet --python $(LOWEST)/bin/python -e . $(TEST_TOOLS)
	touch $@

# What would be released, in empty environments: torch and kornia only, then each extra alone.
test-wheel: $(STAMP)
	OMP_NUM_THREADS=1 $(PYTHON) -m tests.wheel

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict

bench: $(STAMP)
	$(PYTHON) -m benchmarks.run

# With the Python at hand, such as a CUDA image's own: nothing is installed.
gpu:
	$(or $(wildcard $(PYTHON)),python3) -m benchmarks.cuda

# A change is named by its file's path and looked for by its module's name, so adapters/ lies there where it is imported
# from. MUTANTS="nda_augment.anomaly.density.*" tries some only.
mutants: $(STAMP)
	mkdir -p build/mutants
	git ls-files -z | xargs -0 cp --parents --update --target-directory=build/mutants
	cp --recursive --update build/mutants/adapters build/mutants/nda_augment
	cd build/mutants && OMP_NUM_THREADS=1 $(abspath $(VENV))/bin/mutmut run $(MUTANTS)

clean:
	rm -rf $(VENV) $(LOWEST) build dist site *.egg-info
