# Everything a newcomer needs; `make` lists it. Rust, Python 3 and a C compiler are enough to begin.

CARGO ?= cargo
KILLS ?= 500
CUTS ?= 50

.DEFAULT_GOAL := help
.PHONY: help run test interop check widget bench torture fuzz man docs wheel install header abi baseline deb fmt

help: ## This list
	@sed -n 's/^\([a-z]*\): ## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

run: ## The whole channel on this machine: a sandbox that plays amoCRM, the server, a demo messenger
	$(CARGO) run --locked --package amochats-server -- dev $(ARGS)

test: ## Every test on every surface; installs what is missing. Some only: make test SUITES="c python"
	@python3 tests/run.py $(SUITES)

interop: ## The clients in examples/ against a server and a sandbox; make test runs it too
	@tests/interop/run.py $(ARGS)

check: ## Format, lints, documentation, C header, .proto files, licences: no test
	@tests/check.sh

widget: ## target/widget/widget.zip of widget/widget.toml, checked; another: make widget CONFIG=mine.toml (Python 3.11)
	@python3 widget/build.py $(if $(CONFIG),--config $(CONFIG))

bench: ## Ratios against a baseline of the same run; a backlog of 1,000,000 events; a sandbox with 200,000 messages
	$(CARGO) bench --locked --package amochats --bench webhook
	$(CARGO) bench --locked --package amochats-tests --bench bench
	$(CARGO) bench --locked --package amochats-tests --bench backlog
	$(CARGO) bench --locked --package amochats-sandbox
	tests/benches/python/run.sh

torture: ## Hundreds of kills and power cuts under load, the C library under Valgrind; KILLS=500 CUTS=50 SEED=1 repeats one
	$(CARGO) build --locked --package amochats-server
	AMOCHATS_KILLS=$(KILLS) AMOCHATS_CUTS=$(CUTS) $(if $(SEED),AMOCHATS_SEED=$(SEED)) \
		$(CARGO) test --locked --package amochats-tests --test crash --test powercut -- --nocapture --test-threads=1
	tests/c/memcheck.sh

fuzz: ## Fuzz targets, a minute each: make fuzz FUZZ_SECONDS=600
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz.sh

man: ## The man pages: make man OUT=/usr/local/share/man/man1
	$(CARGO) run --quiet --locked --package amochats-server -- man --out $(or $(OUT),target/man)

wheel: ## The Python wheel of a release build and its size, in target/wheels; ARGS=--no-default-features is small
	@packaging/wheel.sh $(ARGS)

header: ## Writes ffi/include/amochats.h anew
	AMOCHATS_WRITE_HEADER=1 $(CARGO) test --quiet --locked --package amochats-ffi --test header

baseline: ## Writes proto/baseline.binpb anew, against which `make check` looks for breaking changes
	@tests/check.sh baseline

abi: ## Writes ffi/abi.xml anew, with which the tests of C compare the library
	@tests/c/abi.sh baseline

docs: ## References as HTML: the C interface in target/docs/c/html, the Python module in target/python-docs
	@packaging/c/docs.sh
	@python/docs.sh

deb: ## A Debian package of a release build, in target/deb
	@packaging/deb.sh

install: ## libamochats for C and C++: make install DESTDIR= PREFIX=/usr/local; SMALL=1 without the channel
	@CARGO="$(CARGO)" DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" LIBDIR="$(LIBDIR)" SMALL="$(SMALL)" PROFILE="$(PROFILE)" \
		packaging/c/install.sh

fmt: ## Formats the Rust code
	$(CARGO) fmt --all
