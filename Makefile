# The menu. `make` alone lists it; the recipes are in conf/, tests/ and nginx/module/.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
export PATH := $(PATH):$(HOME)/.cargo/bin:/usr/sbin:/sbin

# make run CONF=my.toml RUN=/srv/fastdisk
CONF ?= conf/fastdisk.toml
RUN ?= run
# make install PREFIX=/usr DESTDIR=/tmp/package
PREFIX ?= /usr/local
DESTDIR ?=
# make cluster CLUSTER=/srv/cluster
CLUSTER ?= run-cluster

stack = conf/stack.sh --conf $(CONF) --run $(RUN) --bin-dir target/release

.PHONY: help
help: ## list what make can do
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1 \t\2/p' Makefile | expand -t 20

# Use

.PHONY: run stop status logs clean-run
run: deps build nginx-module ## build, start everything, print the address and the password
	@$(stack) start

stop: ## stop exactly what `make run` started; nothing is lost
	@$(stack) stop

status: ## what runs, where, how much memory it takes
	@$(stack) status

logs: ## follow all logs; leave with Ctrl-C
	@$(stack) logs

clean-run: ## stop, then remove the run directory with ALL FILES AND ACCOUNTS in it
	@$(stack) clean

.PHONY: cluster cluster-stop
cluster: build ## two trackers and five storages in CLUSTER, to look at and to break
	@conf/cluster.sh $(CLUSTER) target/release start

cluster-stop: ## stop them; CLUSTER keeps their files
	@conf/cluster.sh $(CLUSTER) target/release stop

# Build

.PHONY: deps deps-test build nginx nginx-module
deps: ## install the packages that `make run` needs and that are missing
	@conf/deps.sh run

deps-test: ## install what `make test` needs beyond that
	@conf/deps.sh test

build: ## all programs, release build
	@echo "building the programs; the first time takes some minutes"
	@cargo build --release --bins

nginx: deps nginx-module ## the nginx module, release build

nginx-module:
	@nginx/module/build.sh release

# Test

.PHONY: check test test-schema
check: deps ## format, lints, documentation, house rules, unit tests
	@tests/run.sh lint unit

test: deps-test ## everything: every layer in order, with one total at the end
	@tests/run.sh all

test-schema: deps-test ## whatever the OpenAPI document allows, asked of a running drive; 10 minutes
	@tests/schema/run.sh

test-%: deps-test
	@tests/run.sh $*

# Deliver

.PHONY: install bench bench-fcgi bench-store bench-module bench-web
install: build nginx-module ## programs, module, pages, samples and units below PREFIX
	@conf/install.sh "$(DESTDIR)" "$(PREFIX)"

bench: deps-test ## everything that is measured, beside what it is compared with
	@tests/run.sh bench

bench-store: deps-test ## the store under load, beside this machine's limits and PEER_BIN
	@tests/bench/store.sh

bench-web: build nginx-module deps-test ## uploads into the drive, beside WebDAV of nginx
	@tests/bench/web.sh

bench-fcgi: deps-test ## FastCGI through nginx, beside `return 200` and a C worker
	@tests/bench/fcgi.sh

bench-module: deps-test ## the nginx module, beside nginx's own static files
	@tests/bench/module.sh
