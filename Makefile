# Everything here is a thin name for a script or a cargo command. Builds always cover the workspace: one resolution of
# features and one profile, so that the demo, the tests and the benchmarks share one build of the dependencies.

.PHONY: help setup demo test histories fmt lint bench bench-inference clean-demo

help: ## What there is
	@grep -hE '^[a-z-]+:.*## ' Makefile | awk -F ':.*## ' '{ printf "make %-12s %s\n", $$1, $$2 }'

setup: ## LibTorch and the encoder's weights into a cache, .cargo/config.toml (CONTACTFLOW_CUDA=1: with CUDA; CONTACTFLOW_MULTILINGUAL=1: Chinese too)
	@deploy/setup.sh

demo: ## Builds, then runs the job on a generated month of events in demo-output/
	@deploy/demo.sh

test: ## Every test; the runner's own summary comes last
	@deploy/test.sh

histories: setup ## 20,000 random histories against the oracle (CONTACTFLOW_HISTORIES, CONTACTFLOW_SEED)
	CONTACTFLOW_HISTORIES=$${CONTACTFLOW_HISTORIES:-20000} cargo nextest run --workspace --locked --test histories

fmt: ## Formats the sources
	cargo fmt --all

lint: setup ## Formatting and clippy, warnings are errors
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

bench: setup ## Functions (criterion), one late event, a million conversations; BENCH_FLOOR=0 leaves the last out
	@deploy/bench.sh

bench-inference: setup ## The encoder against transformers on PyTorch, which it fetches (3 GB)
	@benches/inference/run.sh

clean-demo: ## Removes demo-output/
	rm -rf demo-output
