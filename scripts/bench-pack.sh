#!/usr/bin/env bash
# The packing experiment's figures, at arrived 100 %: per order and their mean, with the mix known and learned, and in
# batches with moves. Writes the tables into docs/benchmarks.md, between the marks.
# Usage: bench-pack.sh FOLDER [SEED...]   the openb trace: node and pod lists, and arrival_order/; seeds 42 to 46
# with WORKLOADS="default gpuspec33"      DOCUMENT=FILE for another document    BERTH=FILE for a program that is built
set -euo pipefail
cd "$(dirname "$0")/.."

trace=${1:?the folder of the trace: bench-pack.sh FOLDER [SEED...]}
shift
seeds=("$@")
[[ ${#seeds[@]} -gt 0 ]] || seeds=(42 43 44 45 46)
document=${DOCUMENT:-docs/benchmarks.md}
read -ra workloads <<<"${WORKLOADS:-default gpuspec33}"
if [[ -z ${BERTH:-} ]]; then cargo build --release --locked --quiet --package berth; fi
berth=${BERTH:-target/release/berth}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# NAME WORKLOAD FLAG...: a row of a table; where pods moved, how many did in a run.
row() {
  local name=$1 workload=$2
  shift 2
  local orders=()
  for seed in "${seeds[@]}"; do orders+=(--order "$trace/arrival_order/$workload.seed$seed.txt.xz"); done
  "$berth" sim pack --nodes "$trace/openb_node_list_gpu_node.csv" --pods "$trace/openb_pod_list_$workload.csv" \
    "${orders[@]}" "$@" --json |
    jq -rs --arg name "$workload | $name" '
      def two: . * 100 | round / 100 | tostring;
      map(.cells[] | select(.arrived_pct == 100).allocated_pct) as $at
      | (map(.moves) | add / length | if . > 0 then [round | tostring] else [] end) as $moves
      | "| " + ([$name] + $moves + ($at | map(two)) + [$at | add / length | two] | join(" | ")) + " |"'
}

{
  printf '\n%s; commit %s.\n\n' "$(date +%F)" "$(git rev-parse --short HEAD)"
  printf '| workload | policy | mix |'; printf ' %s |' "${seeds[@]}"; printf ' mean |\n'
  printf '|---|---|---|'; printf -- '--:|%.0s' "${seeds[@]}"; printf -- '--:|\n'
  for workload in "${workloads[@]}"; do
    row 'fragmentation | known' "$workload" --policy fragmentation
    row 'fragmentation | learned' "$workload" --policy fragmentation --mix learned
    row 'pack | known' "$workload" --policy pack
    row 'balanced | known' "$workload" --policy balanced
  done
  printf '\nIn batches of 100, at most 2 moves with each, mix known:\n\n'
  printf '| workload | policy | moves a run |'; printf ' %s |' "${seeds[@]}"; printf ' mean |\n'
  printf '|---|---|--:|'; printf -- '--:|%.0s' "${seeds[@]}"; printf -- '--:|\n'
  for workload in "${workloads[@]}"; do
    row 'fragmentation' "$workload" --policy fragmentation --batch 100 --moves 2
  done
  echo
} >"$work/table"

awk -v table="$work/table" '
  /<!-- pack: begin -->/ { print; while ((getline line < table) > 0) print line; inside = 1; next }
  /<!-- pack: end -->/ { inside = 0 }
  !inside' "$document" >"$work/document"
cp "$work/document" "$document"
