# make demo   installs into .venv-demo, finds tracks in shipped events, leaves demo/tracks.root and demo/event.png
# make test   installs into .venv, runs the tests
# Nothing else is needed but Python 3.11-3.13 and the package index. On Linux the index serves torch with CUDA; the
# smaller CPU build comes with  make demo PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3
PIP_ARGS ?=
DEMO_EVENTS = examples/data/trackml-10-50.root

export OMP_WAIT_POLICY = PASSIVE

.PHONY: demo test lint types install clean
.DEFAULT_GOAL := help

help:
	@sed -n '1,4s/^# //p' Makefile

.venv-demo/done: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "Python 3.11 to 3.13 is needed; try: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv-demo
	.venv-demo/bin/python -m pip install --quiet --upgrade pip
	.venv-demo/bin/python -m pip install --quiet $(PIP_ARGS) --constraint constraints.txt --editable '.[plot]'
	touch $@

demo: .venv-demo/done
	mkdir -p demo
	.venv-demo/bin/mltrack run --input $(DEMO_EVENTS) --output demo/tracks.root --overwrite
	.venv-demo/bin/mltrack display --input $(DEMO_EVENTS) --tracks demo/tracks.root --output demo/event.png --overwrite
	@echo "tracks: demo/tracks.root   picture: demo/event.png"

.venv/done: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "Python 3.11 to 3.13 is needed; try: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --upgrade pip
	.venv/bin/python -m pip install --quiet $(PIP_ARGS) --constraint constraints.txt --editable '.[dev]'
	touch $@

install: .venv/done

test: .venv/done
	.venv/bin/python -m pytest -n auto --maxprocesses 8 --dist loadfile --max-worker-restart 0

lint: .venv/done
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

# On an installed copy: in the checkout, type checkers would take the folder io for the standard library's module.
types: .venv/done
	rm -rf build
	.venv/bin/python -m pip install --quiet --no-deps --target build/types .
	cd build/types && ../../.venv/bin/mypy --config-file ../../pyproject.toml --package mltrack_plugin

clean:
	rm -rf .venv .venv-demo demo build
