# `make lab` opens the notebooks and `make test` checks everything; both first install what is missing into .venv.
# Paths are relative, so the checkout may lie in a folder with a space in its name.

PYTHON3  ?= python3
NOTEBOOK ?= notebooks/02_normkd_training.ipynb

VENV   := .venv
PYTHON := $(VENV)/bin/python
STAMP  := $(VENV)/.installed
# Shell commands of the notebooks (`!normkd presets`) must find the environment too, and kernels must know how long
# torch's waiting threads may spin before they load it: the module sets that and then runs Python on what follows.
RUN    := env -u PYTHONDONTWRITEBYTECODE PATH="$$PWD/$(VENV)/bin:$$PATH" "$(PYTHON)" -m normkd_explore.spinning

.PHONY: help setup lab test notebooks site lint clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

setup: $(STAMP)  ## install everything into .venv; the other targets do so when they need it

lab: $(STAMP)  ## open JupyterLab on the NormKD notebook (NOTEBOOK=..., LAB_ARGS=...)
	@$(RUN) -m jupyterlab --ip=127.0.0.1 --log-level=WARN \
	  $$([ "$$(id -u)" != 0 ] || echo --allow-root) \
	  $$([ "$$(uname)" = Darwin ] || [ -n "$$DISPLAY$$WAYLAND_DISPLAY" ] || echo --no-browser) \
	  --LabApp.default_url="/lab/tree/$(NOTEBOOK)" $(LAB_ARGS)

# Types are checked first, as they are known soonest; not where PYTEST_ARGS asks for some tests alone.
# Without a path in PYTEST_ARGS, pytest takes `testpaths` of pyproject.toml: the tests and the notebooks.
test: $(STAMP)  ## run the tests, and the notebooks against their stored outputs (PYTEST_ARGS="tests/losses -x")
	@$(if $(PYTEST_ARGS),,$(RUN) -m mypy)
	@$(RUN) -m pytest --nbval $(if $(PYTEST_ARGS),,-n auto) $(PYTEST_ARGS)

notebooks: $(STAMP)  ## run notebooks/*.py and store their outputs (ONLY="02_normkd_training ...")
	@$(RUN) scripts/build_notebooks.py $(ONLY)

site: $(STAMP)  ## write site/: an article with living figures, the notebooks and docs behind it, no kernel needed (ONLY=...)
	@$(RUN) scripts/build_site.py $(ONLY)

lint: $(STAMP)  ## style: ruff's rules and its formatting
	@$(RUN) -m ruff check
	@$(RUN) -m ruff format --check

clean:  ## remove the environment and caches; runs/ stays
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis build dist normkd_explore.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@command -v "$(PYTHON3)" >/dev/null || { echo "setup: $(PYTHON3) is missing: install Python 3.11 or newer"; exit 1; }
	@"$(PYTHON3)" scripts/setup_env.py
