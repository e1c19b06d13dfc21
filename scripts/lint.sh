#!/usr/bin/env bash
# Everything that can be said about the code without running it.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { echo "== $*"; "$@"; }

# A minimal toolchain has neither.
cargo fmt --version >/dev/null 2>&1 || step rustup component add rustfmt
cargo clippy --version >/dev/null 2>&1 || step rustup component add clippy

step cargo fmt --all --check
step cargo xtask layers
step cargo xtask tidy
step cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
if cargo deny --version >/dev/null 2>&1; then
  step cargo deny --offline check bans licenses sources
else
  echo "== cargo deny: not installed, skipped (cargo install --locked cargo-deny)"
fi
