# Two commands do everything on a bare Debian 12 machine, as root: `make demo` and `make test`.
# Both install what they need (Debian packages, a virtual environment, images) and keep it.

VENV   := .venv
PYTHON := $(VENV)/bin/python
SHIM   := $(VENV)/bin/shim
C_PARTS := $(wildcard c_ext/*/*.c c_ext/*/*.h) setup.py pyproject.toml shim/options.py shim/option_table.py \
           shim/ticket_wire.py

# mmdebstrap makes node and image roots, iproute2 the nodes' network; libpmix and hwloc are what
# the PMIx server and the mapper load; the rest is used by the tests alone.
DEBIAN := mmdebstrap debian-archive-keyring iproute2 util-linux uidmap openssh-client \
          libpmix-dev libpmix2 libhwloc15 libhwloc-dev pkg-config gcc libc6-dev make \
          hwloc valgrind strace procps python3-venv qemu-system-x86

.PHONY: demo test lint benchmarks clean help

help:
	@echo "make demo        run a hybrid MPI+OpenMP job in containers on a private Slurm cluster"
	@echo "make test        run all tests"
	@echo "make lint        ruff and mypy"
	@echo "make benchmarks  run every script of benchmarks/ (long)"

demo: $(VENV)/.installed
	$(PYTHON) examples/demo/demo.py

test: lint
	$(PYTHON) -m pytest

lint: $(VENV)/.installed
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
	$(PYTHON) -m mypy setup.py examples/demo/demo.py examples/pmix-client/client.py

BENCHMARKS := launch pingpong wireup agent_footprint overlay pmix_soak map hybrid
benchmarks: $(VENV)/.installed
	for name in $(BENCHMARKS); do echo "== $$name"; $(PYTHON) -m benchmarks.$$name || exit 1; done

# The list is asked of dpkg first, so that a repeated `make` needs no network.
$(VENV)/.debian:
	@mkdir -p $(VENV)
	@dpkg-query -W -f '$${db:Status-Abbrev}\n' $(DEBIAN) >$(VENV)/.dpkg 2>&1 && ! grep -qv '^ii' $(VENV)/.dpkg || { \
	  test "$$(id -u)" = 0 || { echo "make: Debian packages are missing and only root can install them. Run: apt-get install $(DEBIAN)" >&2; exit 1; }; \
	  echo "== installing Debian packages"; \
	  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $(DEBIAN); }
	@touch $@

$(VENV)/.installed: $(VENV)/.debian $(C_PARTS)
	test -x $(PYTHON) || python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info pmix_server/*.so .mypy_cache .ruff_cache .pytest_cache .hypothesis
