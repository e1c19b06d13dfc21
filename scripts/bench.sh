#!/usr/bin/env bash
# The figures of docs/benchmarks.md, in one run, through the real program. Prints them and judges nothing.
# Usage: bench.sh        with BERTH=FILE for another program, SLEEPERS=N and RUNS=N for other numbers.
set -euo pipefail
cd "$(dirname "$0")/.."

berth=${BERTH:-target/release/berth}
sleepers=${SLEEPERS:-1000}
runs=${RUNS:-9}
port=${PORT:-4690}
mkdir -p /var/lib/berth-bench
work=$(mktemp -d /var/lib/berth-bench/XXXXXX)
pids=()

tidy_up() {
  status=$?
  berth stop sleepers >/dev/null 2>&1 || true
  for _ in $(seq 900); do [ -n "$(shims)" ] || break; sleep 0.1; done
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; done
  rm -rf "$work"
  rmdir --ignore-fail-on-non-empty /var/lib/berth-bench
  exit "$status"
}
trap tidy_up EXIT
trap 'exit 130' INT TERM

berth() { "$berth" "$@"; }
now() { date +%s%N; }
ms() { echo "$((($(now) - $1) / 1000000)) ms"; }
median() { sort -n | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }
figure() { printf '%-64s %s\n' "$1" "$2"; }
shims() { pgrep -f "shim $work/" || true; }
memory() { awk '/^(Rss|Pss|Private_Dirty):/ { printf "%s %d kB  ", $1, $2 }' "/proc/$1/smaps_rollup"; }
within() { # SECONDS COMMAND...: until it succeeds
  local end=$((SECONDS + $1)); shift
  until "$@"; do [ $SECONDS -lt $end ] || { echo "bench: gave up: $*" >&2; return 1; }; sleep 0.02; done
}
start() { # DATA ROLE...: in the background
  "$berth" "${@:2}" >"$work/$1.log" 2>&1 &
  pids+=($!)
}
is_node_ready() { berth node list --json 2>/dev/null | jq -e '.nodes | any(.state.kind == "ready")' >/dev/null; }
running() { berth status "$1" --json | jq '.job.groups[0].running'; }
no_shims() { [ -z "$(shims)" ]; }
has_run() { [ "$(running "$1")" -ge "$2" ]; }
has_line() { berth logs "$1" 2>/dev/null | grep -q first; }
token() { BERTH_TOKEN=$(cat "$1") && export BERTH_TOKEN; }
job() { # NAME KIND COUNT COMMAND: a job file
  printf 'job: %s\nkind: %s\ngroups:\n  - name: g\n    count: %s\n    tasks:\n      - name: t\n        image: oci:%s/image:latest\n        command: %s\n        resources: {cpu: 1m, memory: 4MiB, disk: 1MiB}\n' \
    "$1" "$2" "$3" "$work" "$4" >"$work/$1.yaml"
}

scripts/make-image.sh "$work/image"
export BERTH_ADDR=http://127.0.0.1:$port
figure "machine" "$(nproc) cores, kernel $(uname -r), load $(cut -d' ' -f1 /proc/loadavg)"

began=$(now)
start dev dev --data-dir "$work/dev" --bind "127.0.0.1:$port"
within 30 test -s "$work/dev/server/token"
token "$work/dev/server/token"
within 30 is_node_ready
figure "berth dev, from its start to a node that is ready" "$(ms "$began")"
kill "${pids[0]}" && wait "${pids[0]}" || true
pids=()

start server server --data-dir "$work/server" --bind "127.0.0.1:$port"
server=${pids[0]}
within 30 test -s "$work/server/token"
token "$work/server/token"
start agent agent --data-dir "$work/agent" --server "$BERTH_ADDR" --token-file "$work/server/token" --name bench --address 127.0.0.1
agent=${pids[1]}
within 30 is_node_ready
figure "memory of an idle server" "$(memory "$server")"
figure "memory of an idle agent" "$(memory "$agent")"

for run in $(seq 0 "$runs"); do # the first brings the image
  job "line-$run" batch 1 '[echo, first]'
  began=$(now)
  berth run "$work/line-$run.yaml" --detach >/dev/null
  within 30 has_line "line-$run"
  [ "$run" = 0 ] || echo "$((($(now) - began) / 1000000))"
done >"$work/lines"
figure "berth run to the first line in berth logs, image present" "$(median <"$work/lines") ms, median of $runs"

job sleepers service "$sleepers" '[sleep, "100000"]'
began=$(now)
berth run "$work/sleepers.yaml" --detach >/dev/null
within 120 has_run sleepers "$sleepers"
figure "$sleepers sleeping containers on one node, all running" "$(ms "$began")"
sleep 2
figure "memory of the server then" "$(memory "$server")"
figure "memory of the agent then" "$(memory "$agent")"
shims | while read -r pid; do echo "$(memory "$pid")"; done >"$work/shims"
for column in 2 5 8; do awk "{ print \$$column }" "$work/shims" | median; done | paste -sd' ' |
  while read -r rss pss dirty; do figure "memory of a shim, median of all" "Rss: $rss kB  Pss: $pss kB  Private_Dirty: $dirty kB"; done

berth stop sleepers >/dev/null
within 120 no_shims
${CARGO:-cargo} test --quiet --package berth-runtime --test runtime -- --figures
