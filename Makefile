# Every tool runs at a pinned version through go run: nothing is installed by hand.
GOLANGCI   := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOFUMPT    := go run mvdan.cc/gofumpt@v0.12.0
BUF        := go run github.com/bufbuild/buf/cmd/buf@v1.75.0
GOVULN     := go run golang.org/x/vuln/cmd/govulncheck@v1.9.0

.PHONY: help demo test check live lint format proto breaking vuln build

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## play a company's joiners, movers and leavers and prove that every target matches
	go run ./services/joinery/cmd/joinery demo

test: ## all tests that need nothing but Go
	go test -timeout 15m ./... ./proto/...

check: format lint build proto test ## what must pass before a commit

build: ## both modules build, in the workspace and alone
	go build ./... ./proto/...
	go vet ./... ./proto/...
	GOWORK=off go build ./...
	cd proto && GOWORK=off go build ./...

format: ## every file is gofumpt-ed
	@out="$$($(GOFUMPT) -l pkg services)"; test -z "$$out" || { echo "not formatted:"; echo "$$out"; exit 1; }

lint: ## golangci-lint: the law of direction, and the rest
	$(GOLANGCI) run ./...

proto: ## the contract lints, and the generated code is up to date
	cd proto && $(BUF) lint && $(BUF) generate
	@git diff --exit-code -- proto/joinery || { echo "generated code was out of date"; exit 1; }

breaking: ## the contract breaks nobody who uses the last commit
	cd proto && $(BUF) breaking --against '../.git#branch=main,subdir=proto'

vuln: ## known vulnerabilities in what is called; says so where the database cannot be reached
	.ci/vuln $(GOVULN)

live: ## real servers and real kills; installs redis-server where it is missing
	.ci/live
