#!/usr/bin/env bash
# The five minutes that show what Berth is: a cluster on this machine, a service in containers, a node
# that dies, and the answers to "why". Ends by itself and leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."

berth=target/debug/berth
if [ "${1:-}" != --built ]; then
  # The whole workspace, as the tests build it, so that nothing is built twice.
  cargo build --workspace --locked
  [ "$(id -u)" = 0 ] || exec sudo "$0" --built
fi
lab=demo$(($$ % 10000))
# Not below /tmp: every node of a lab has a /tmp of its own.
mkdir -p /var/lib/berth-demo
work=$(mktemp -d /var/lib/berth-demo/XXXXXX)
chmod 755 "$work"

tidy_up() {
  status=$?
  "$berth" lab down --name "$lab" >/dev/null 2>&1 || true
  rm -rf "$work"
  rmdir --ignore-fail-on-non-empty /var/lib/berth-demo
  [ "$status" = 0 ] || echo "demo: failed with status $status" >&2
  exit "$status"
}
trap tidy_up EXIT
trap 'exit 130' INT TERM

say() { printf '\n\033[1m# %s\033[0m\n' "$*"; }
show() { printf '$ %s\n' "$*"; "$@"; }
berth() { "$berth" "$@"; }
field() { # a field of the web job's ready allocations, one per line
  berth status web --json | jq -r ".allocs[] | select(.state.ready != null) | $1"
}

say "An image, made here: Debian's static busybox, in an OCI layout"
show scripts/make-image.sh "$work/image"
sed "s|image: IMAGE|image: oci:$work/image:latest|" examples/demo.yaml >"$work/web.yaml"

say "A cluster of one server and three agents, each on a node with a network and files of its own"
show berth lab up --servers 1 --agents 3 --name "$lab"
eval "$(berth lab status --name "$lab" --env)"
export BERTH_ADDR BERTH_TOKEN
show berth node list

say "A service: three containers of a small web server"
show cat "$work/web.yaml"
show berth run "$work/web.yaml"
show berth status web

say "They answer"
field '"\(.state.placement.node.name) \(.state.placement.ports.http)"' | while read -r node port; do
  address=$(berth node show "$node" --json | jq -r .node.address)
  show busybox wget -qO- "http://$address:$port/"
done

say "Why is the first one where it is?"
alloc=$(field .id | head -n 1)
node=$(field .state.placement.node.name | head -n 1)
show berth why "$alloc"

say "Its node loses power"
show berth lab kill "$node" --name "$lab"
echo "waiting for the replacement ..."
until [ "$(field .id | grep -vxc "$alloc")" -ge 3 ]; do
  [ "${waited:=0}" -lt 300 ] || { echo "demo: no replacement after 30 s" >&2; exit 1; }
  waited=$((waited + 1))
  sleep 0.1
done
show berth status web

say "Why did it move? The old allocation says, and so does the new one"
show berth why "$alloc"
new=$(berth status web --json | jq -r ".allocs[] | select(.replaces == \"$alloc\") | .id")
show berth why "$new"

say "All of it goes away again"
show berth stop web
show berth lab down --name "$lab"
echo "demo: done"
