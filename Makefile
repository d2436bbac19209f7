# make PYTHON=python3.12 takes another Python, make LOCK=cuda12 the environment for NVIDIA GPUs.
PYTHON ?= python3
LOCK ?= cpu

# Of make fuzz.
INPUTS ?= 500
SEED ?= 1

BIN := .venv/bin
SNAKEMAKE := $(BIN)/snakemake --profile profiles/local
COMPARE := --configfile config/compare.yaml
# The first fit of the demo.
FIRST := moffat_grid/gauss_newton/ztf_20200924431759_000655_zr_c13_o_q3
PARALLEL := --numprocesses auto --maxprocesses 4 --dist loadfile
REPORT := --report results/report.html --report-stylesheet rules/captions/report.css
# Written when an installation is complete: an interrupted one starts again.
PINNED := .venv/.$(LOCK).lock-stamp
TOOLS := .venv/.tools.lock-stamp
STAMP := .venv/.package-stamp
BENCH_STAMP := .venv-bench/.lock-stamp
BENCH_PSF_STAMP := .venv-bench-psf/.lock-stamp
PIP_INSTALL := -m pip install --quiet --no-deps --require-hashes --no-compile --requirement
UV_INSTALL := $(BIN)/uv pip install --quiet --no-deps --require-hashes --python $(BIN)/python --requirement
UV_COMPILE := pip compile --universal --fork-strategy fewest --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-annotate --no-header --quiet

# Modules become byte code when they are first imported, of all packages a third: not where this is set.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help env tools demo report test coverage fuzz test-cluster test-report lint format docs pictures lock bench bench-scale bench-gpu bench-calibration bench-survey bench-lightcurves clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(STAMP) ## install what the workflow needs, pinned, and ztfpsf as it is here, in .venv

tools: $(STAMP) $(TOOLS) ## the same, with what tests, checks and notebooks need

$(STAMP): $(PINNED) pyproject.toml
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(PINNED): envs/$(LOCK).lock envs/uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12" >&2; exit 1; }
	@echo "Installing the packages of $< in .venv (0.4 GB are fetched): half a minute or more, once."
	@$(PYTHON) -m venv --clear .venv
# uv takes a fifth of pip's time. Where it has no wheel, or knows no index that pip knows, pip does it.
	@{ $(BIN)/python $(PIP_INSTALL) envs/uv.lock && $(UV_INSTALL) $<; } 2>/dev/null || \
	  $(BIN)/python $(PIP_INSTALL) $<
	@touch $@

$(TOOLS): envs/tools.lock | $(STAMP)
	@echo "Installing the tools of $< in .venv."
	@$(BIN)/python $(PIP_INSTALL) $<
	@touch $@

demo: $(STAMP) ## a real image (31 MB are fetched), a simulated CCD from raw frames, a light curve
	@echo "Step 1 of 5: a real image is fetched, its stars selected, its PSF fitted, drawn and judged."
	$(SNAKEMAKE) results/plot_psf/$(FIRST)_star.png results/validate_psf/$(FIRST)_validation.txt
	@echo "The PSF beside a star: results/plot_psf/$(FIRST)_star.png; how good it is:"
	@head -n 4 results/validate_psf/$(FIRST)_validation.txt
	@echo "Step 2 of 5: the light curve of a supernova in twelve simulated exposures, in the background;"
	@echo "what it says is in logs/lightcurves.log. Meanwhile"
	@echo "Step 3 of 5: raw frames of a CCD are simulated and calibrated, its PSFs fitted and compared with the truth."
	@mkdir -p logs
	@$(SNAKEMAKE) --configfile config/lightcurve.yaml -- lightcurves > logs/lightcurves.log 2>&1 & \
	  $(SNAKEMAKE) --configfile config/simulation.yaml; ccd=$$?; \
	  wait $$! || { tail -n 20 logs/lightcurves.log >&2; exit 1; }; exit $$ccd
	@echo "The light curve: results/plot_lightcurve/SIM1_zr_lightcurve.png"
	@echo "Step 4 of 5: the real image by all optimisers, side by side."
	$(SNAKEMAKE) $(COMPARE)
	@echo "Step 5 of 5: all of it on one page."
	$(SNAKEMAKE) $(COMPARE) --rerun-triggers mtime --forcerun summarise_run -- report
	$(BIN)/snakemake $(COMPARE) $(REPORT) -- report
	@cat results/compare_truth/*/*/*_truth.md results/compare_fits/*_summary.txt
	@echo "The page: results/report.html"

report: $(STAMP) ## results/report.html, one page about all results (ARGS=: what the run was given)
	$(SNAKEMAKE) --rerun-triggers mtime --forcerun summarise_run $(ARGS) -- report
	$(BIN)/snakemake $(ARGS) $(REPORT) -- report

test: tools ## run the tests
	$(BIN)/python -m pytest tests $(PARALLEL)

coverage: tools ## run the tests, and tell which lines they reach and which tests take longest
	$(BIN)/python -m pytest tests $(PARALLEL) --cov --cov-config=pyproject.toml \
	  --cov-report=term-missing:skip-covered --durations=25

test-cluster: tools ## run the demo, and faults, on a SLURM made for it (installs Debian's packages)
	@$(BIN)/python tests/helpers/install_slurm.py
	$(BIN)/python -m pytest tests/cluster -m cluster

test-report: tools ## look at the report with Chromium (installs Debian's package)
	@$(BIN)/python tests/helpers/install_chromium.py
	$(BIN)/python -m pytest tests/workflow/test_report.py

fuzz: tools ## give damaged inputs to every reader (INPUTS=500 SEED=1; minutes on 2 cores)
	PYTHONPATH=tests:tests/helpers:scripts $(BIN)/python -m fuzz --inputs $(INPUTS) --seed $(SEED)

lint: tools ## check format, style and types of all code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/mypy
	$(BIN)/snakemake --lint

format: tools ## format all code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/snakefmt Snakefile rules

docs: $(STAMP) ## write the table of config/README.md from config/schema.yaml
	$(BIN)/python config/describe.py

pictures: $(STAMP) ## copy the two pictures of the README from the results of the demo
	$(BIN)/python docs/pictures.py

lock: ## pin the packages of pyproject.toml and envs/*.in anew (UPGRADE=--upgrade: the newest)
	tools=$$(mktemp -d) && trap 'rm -rf "$$tools"' EXIT && \
	  $(PYTHON) -m venv "$$tools" && "$$tools/bin/pip" install --quiet uv && cd envs && \
	  compile="$$tools/bin/uv $(UV_COMPILE) --output-file" && \
	  $$compile cpu.lock $(UPGRADE) ../pyproject.toml cpu.in && \
	  $$compile cuda12.lock $(UPGRADE) ../pyproject.toml cpu.in cuda12.in --constraint cpu.lock && \
	  $$compile tools.lock $(UPGRADE) tools.in --constraint cpu.lock && \
	  $$compile uv.lock $(UPGRADE) uv.in && \
	  $$compile "$$tools/cpu" ../pyproject.toml --constraint cpu.lock && \
	  $$compile "$$tools/cuda12" ../pyproject.toml cuda12.in --constraint cuda12.lock && \
	  for name in cpu cuda12; do $(PYTHON) write_conda.py $$name "$$tools/$$name" || exit; done && \
	  $$compile bench.lock $(UPGRADE) bench.in && \
	  $$compile bench_psf.lock $(UPGRADE) bench_psf.in

bench: $(STAMP) $(BENCH_PSF_STAMP) ## our PSFs beside PSFEx, Piff and photutils (SETS=, CODES=: some of them)
	PYTHONPATH=scripts $(BIN)/python tests/bench/psf/bench.py .venv-bench-psf/bin/python \
	  results/bench_psf --sets $(SETS) --codes $(CODES)

bench-scale: $(STAMP) ## plan of a night, images per second, time against the number of stars
	PYTHONPATH=scripts:tests/helpers:tests/bench/psf $(BIN)/python tests/bench/scale/bench_scale.py
	$(SNAKEMAKE) results/time_fits/fits_seconds.png

bench-survey: $(STAMP) ## zero points of a simulated survey beside LSQR (SIZES="1e5 1e6")
	$(BIN)/python tests/bench/survey.py results/bench_survey --sizes $(or $(SIZES),1e5 1e6)

bench-lightcurves: $(STAMP) $(BENCH_PSF_STAMP) ## simulated supernovae against the truth, beside photutils (EPOCHS=120)
	PYTHONPATH=scripts $(BIN)/python tests/bench/lightcurves/bench.py \
	  .venv-bench-psf/bin/python results/bench_lightcurves --epochs $(or $(EPOCHS),120)

bench-gpu: ## whether a GPU computes right, and how fast, in 8 minutes; PYTHON has JAX for it, SciPy and pandas
	PYTHONPATH=scripts:tests/bench/psf $(PYTHON) tests/bench/gpu/bench_gpu.py results/bench_gpu/figures.json

$(BENCH_PSF_STAMP): envs/bench_psf.lock
	$(PYTHON) -m venv --clear .venv-bench-psf
	.venv-bench-psf/bin/python -m pip install --quiet --no-deps --require-hashes --requirement $<
	@touch $@

bench-calibration: $(STAMP) $(BENCH_STAMP) ## time and pixels of the calibration beside ztfin2p3
	$(SNAKEMAKE) --configfile config/simulation.yaml tests/bench/night.yaml \
	  --directory results/bench_calibration -- results/simulate_raw/frames.csv
	$(BIN)/python tests/bench/calibration.py results/bench_calibration/results/simulate_raw \
	  .venv-bench/bin/python results/bench_calibration

$(BENCH_STAMP): envs/bench.lock
	$(PYTHON) -m venv --clear .venv-bench
	.venv-bench/bin/python -m pip install --quiet --no-deps --require-hashes --requirement $<
	@touch $@

clean: ## remove the environment and all caches; results and logs stay
	rm -rf .venv .venv-bench .venv-bench-psf .pytest_cache .ruff_cache .mypy_cache .coverage build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
