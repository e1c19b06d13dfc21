#!/usr/bin/env bash
# How many placements a second a server makes durable that is asked over HTTP, at how many nodes, and what `berth why` costs
# there. Prints; docs/benchmarks.md says what it was.
# Usage: bench-api.sh [NODES [SECONDS]]   5,000 nodes, and 10 seconds for each line    FOLDER=DIR for the store's file
set -euo pipefail
cd "$(dirname "$0")/.."

nodes=${1:-5000}
seconds=${2:-10}
# Two ends of a connection a node, in one process.
ulimit -n "$((2 * nodes + 1000))"
cargo build --release --locked --quiet --package berth-server --example durable
cargo build --release --locked --quiet --package berth-control --example why --example burst
echo "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), $(nproc) processors; load $(cut -d' ' -f1 /proc/loadavg); commit $(git rev-parse --short HEAD)"
target/release/examples/durable "$nodes" "$seconds" "${FOLDER:-/tmp}"
target/release/examples/burst "$nodes" "$nodes"
target/release/examples/why "$nodes"
