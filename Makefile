# `make help` lists the targets. PORT_BASE moves all ports together: https is PORT_BASE + 443, http PORT_BASE + 80.
PORT_BASE ?= 8000
export PORT_BASE

SWIFT_SOURCES = $(wildcard Package.swift Sources workers Tests)

.DEFAULT_GOAL := help
.PHONY: help run test stop status logs clean build format format-check bench bench-files bench-floor bench-jobs bench-ledger bench-routing bench-schema faults clients setup

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## set up, build and start everything, and show a streamed answer of the model and a call of each other surface
	@infra/run

test: ## set up, check the format, build, and run all tests with the short faults
	@infra/test

stop: ## stop what `make run` started; its data stays
	@infra/stack down --dir .run

status: ## what runs
	@infra/stack status --dir .run

logs: ## follow the logs
	@tail -n 20 -F .run/log/*.log

clean: ## stop, and delete all that was built or stored, the demo database included
	@infra/stack down --dir .run/test --remove
	@infra/stack down --dir .run --remove
	rm -rf .build .run

setup: ## install missing Debian packages and the Python environment
	@infra/setup

build: setup ## build the release binaries
	swift build -c release

format: ## format the Swift sources
	swift format format --in-place --recursive --parallel $(SWIFT_SOURCES)

format-check: ## fail where the Swift sources are not formatted
	swift format lint --strict --recursive --parallel $(SWIFT_SOURCES)

bench: build ## our stack against bare nginx, as multiples; what embeddings, structured streams, the mesh, files and jobs cost
	@infra/bench/run
	@infra/bench/inference
	@infra/bench/mesh
	@infra/bench/files
	@timeout 600 infra/bench/jobs

bench-files: build ## 256 MiB up and down, beside the same bytes put straight into the store with libs3
	@infra/bench/files

bench-floor: build ## the least that nginx, FastCGI, Redis and Postgres cost a request, beside what ours costs
	@infra/bench/floor

bench-ledger: build ## how many settlements a second the committer writes, and what each costs
	@infra/bench/committer

bench-jobs: build ## how soon a job starts, and how many jobs and deliveries a second are done
	@infra/bench/jobs

bench-schema: build ## what checking an answer of 4 KB by its schema costs
	@infra/bench/schema

bench-routing: build ## how long the choice among 200 and 1,000 workers takes
	@infra/bench/routing

faults: ## the long fault tests
	@infra/test --faults

clients: build ## other people's client libraries against our stack
	@infra/clients
