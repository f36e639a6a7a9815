# Two commands: `make demo` and `make test`. The first call builds .venv; later ones are quick.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
EXTRAS ?= torch,jax,flax,train,test
# what trains in `make demo`: torch or jax
BACKEND ?= torch
STAMP  := $(VENV)/.installed

# A local folder of wheels (a CPU build of torch, say) that pip knows is told to uv as well.
FIND_LINKS := $(or $(PIP_FIND_LINKS),$(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null))
export UV_FIND_LINKS ?= $(FIND_LINKS)

.PHONY: demo test test-slow bench bench-gpu lint clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	if $(BIN)/python -m pip install -q uv; \
	then $(BIN)/uv pip install -q -p $(BIN)/python -c constraints.txt -e '.[$(EXTRAS)]'; \
	else $(BIN)/python -m pip install -q -c constraints.txt -e '.[$(EXTRAS)]'; fi
	@$(BIN)/python -c "import torch; print('neuroode is installed in $(VENV) with torch', torch.__version__)"
	@touch $@

demo: $(STAMP)
	$(BIN)/neuroode list
	$(BIN)/neuroode show brf
	$(BIN)/neuroode train smnist --neuron brf --backend $(BACKEND) --seeds 0,1,2 --jobs 2 --out report

test: $(STAMP)
	$(BIN)/pytest -q -n auto -m 'not slow'

test-slow: $(STAMP)
	$(BIN)/pytest -q -n auto -m slow

bench: $(STAMP)
	$(BIN)/neuroode bench $(if $(QUICK),--quick,--out docs/benchmarks.md)

# checks every Triton kernel, then times; needs a CUDA device, and a torch that is built for it
bench-gpu: $(STAMP)
	$(BIN)/python -m neuroode.bench.gpu_torch $(if $(QUICK),--quick,--out docs/benchmarks.md)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build/types && mkdir -p build/types/neuroode
	ln -s $(CURDIR)/neuroode/* $(CURDIR)/models $(CURDIR)/solvers $(CURDIR)/papers build/types/neuroode/
	cd build/types && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache neuroode

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
