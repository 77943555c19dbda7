# SPDX-License-Identifier: Apache-2.0
# A thin front for tools/deps, meson and pytest. `make help` lists the targets.
BUILD = build
ASAN = build-asan

.PHONY: help deps deps-undo deps-cluster build asan demo check check-lab check-cluster check-fresh test bench image deploy demo-cluster install uninstall fmt clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: ## install what the build and the tests need (Debian 12 and 13); says what it adds to apt's sources
	@tools/deps

deps-undo: ## take the apt sources and pins of `make deps` away
	@tools/deps undo

deps-cluster: ## find or build etcd, Kubernetes and containerd for the cluster tests (first time 16 minutes on 2 cores, then cached)
	@tools/deps-cluster

$(BUILD)/build.ninja:
	@meson setup $(BUILD) --buildtype=debugoptimized >$(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }; rm -f $(BUILD).log

$(ASAN)/build.ninja:
	@meson setup $(ASAN) -Db_sanitize=address,undefined -Db_lundef=false >$(ASAN).log 2>&1 || { cat $(ASAN).log; exit 1; }; rm -f $(ASAN).log

build: $(BUILD)/build.ninja ## build/kvrail, build/kvrail-cni, build/kvrail-kv
	@echo "build: compiling into $(BUILD)"
	@ninja -C $(BUILD) --quiet

asan: $(ASAN)/build.ninja
	@echo "build: compiling with AddressSanitizer and UBSan into $(ASAN)"
	@ninja -C $(ASAN) --quiet

demo: deps build ## the whole story on two emulated nodes, with progress (no special hardware, no root after deps)
	@lab/demo

demo-cluster: deps deps-cluster build ## KServe's pods on a real Kubernetes: control plane here, two emulated nodes, RDMA between them
	@lab/demo-cluster

check: build asan ## unit, fuzz and system tests, with AddressSanitizer and UBSan
	@test/run unit system

check-lab: build asan ## the tests that need SR-IOV and RoCE: two QEMU guests
	@test/run lab

check-cluster: deps-cluster build asan ## the tests on a real Kubernetes: control plane here, two QEMU guests as nodes
	@test/run cluster

check-fresh: ## the README's two commands on minimal Debian 12 and 13 roots (needs root)
	@test/fresh

test: deps build asan ## everything: unit, fuzz, system, lab, cluster
	@tools/deps-cluster >/dev/null || echo "test: no Kubernetes here: the cluster tests will be skipped" >&2
	@test/run unit system lab cluster

bench: deps build ## the figures of docs/performance.md
	@bench/run

image: build ## the container image as an OCI archive, without a registry: build/kvrail-VERSION-ARCH.tar
	@tools/image

deploy: ## make deploy/kvrail.yaml anew from what kustomize takes (needs kubectl: make deps-cluster)
	@tools/deploy

install: build ## install under the prefix that meson was set up with (DESTDIR is honoured)
	@meson install -C $(BUILD)

uninstall: ## remove what install put there
	@ninja -C $(BUILD) uninstall

fmt: ## clang-format what differs from the last commit
	@git diff -U0 HEAD -- '*.c' '*.h' | clang-format-diff -p1 -i

clean: ## remove the build folders
	@rm -rf $(BUILD) $(ASAN)
