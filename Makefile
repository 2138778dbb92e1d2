# Everything a person or CI does here. `make` alone lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# The Go command fetches this toolchain itself.
export GOTOOLCHAIN := go1.27.3
export GOFLAGS := -buildvcs=false

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GO := go

CONTROLLER_GEN := $(GO) run sigs.k8s.io/controller-tools/cmd/controller-gen@v0.23.0
GOLANGCI_LINT  := $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOFUMPT        := $(GO) run mvdan.cc/gofumpt@v0.12.0

NAME  ?= demo
NODES ?= 3

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "; print "Fairlead. As root, `make demo` and `make test` do everything and install what they need.\n"} \
	  /^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## A cluster on this machine with Fairlead, Services and a Gateway that answer, a node that dies (root)
	$(GO) run ./test/demo up --name $(NAME) --nodes $(NODES)

.PHONY: demo-down
demo-down: ## End the demo
	$(GO) run ./test/demo down --name $(NAME)

.PHONY: test
test: ## All tests, a line per tier (root; unit tests, then a real cluster)
	$(GO) run ./test/tiers

.PHONY: unit
unit: ## The quick tests; no root needed
	$(GO) run ./test/tiers unit

.PHONY: e2e
e2e: ## The tests on a real cluster (root); RUN=regexp picks some, CLUSTERS=1 runs all on one cluster rather than on two at once
	$(GO) run ./test/tiers e2e $(if $(RUN),--run '$(RUN)') $(if $(CLUSTERS),--clusters $(CLUSTERS))

.PHONY: conformance
conformance: ## The Gateway API's suite on a real cluster (root); CHANNEL=standard MODE=dedicated RUN=regexp KEEP=1
	$(GO) run ./test/tiers conformance $(if $(CHANNEL),--channel $(CHANNEL)) $(if $(MODE),--mode $(MODE)) $(if $(RUN),--run '$(RUN)') $(if $(KEEP),--keep)

.PHONY: bench
bench: ## Every measured figure of docs/figures.md, as one table (root; long)
	$(GO) run ./test/bench $(BENCH)

.PHONY: generate
generate: ## Write all generated files
	$(CONTROLLER_GEN) object crd paths=./api/... output:crd:artifacts:config=charts/fairlead/files/crds
	$(GO) run ./test/docgen

.PHONY: check-generated
check-generated: ## Fail if a generated file is stale
	@before=$$(git status --porcelain; git diff | sha256sum); $(MAKE) --no-print-directory generate >/dev/null || exit 1; \
	after=$$(git status --porcelain; git diff | sha256sum); \
	if [ "$$before" != "$$after" ]; then git status --short; echo "Generated files are stale: run 'make generate' and commit what it writes."; exit 1; fi

.PHONY: lint
lint: ## golangci-lint with gofumpt
	$(GOLANGCI_LINT) run ./...

.PHONY: format
format: ## Format the code
	$(GOFUMPT) -w .

.PHONY: images
images: ## OCI archives of the images for amd64 and arm64, and of Envoy for tests, into dist/
	$(GO) run ./release images --version $(VERSION) --out dist

.PHONY: plugin
plugin: ## The kubectl plugin for this machine, into build/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X github.com/fairlead/fairlead/version.Version=$(VERSION)' -o build/ ./cmd/kubectl-fairlead

.PHONY: dist
dist: ## Images, chart, kubectl plugin and checksums of a release, into dist/
	$(GO) run ./release all --version $(VERSION) --out dist

.PHONY: clean
clean: ## Remove build outputs (caches outside the tree stay)
	rm -rf build dist
