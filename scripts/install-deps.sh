#!/usr/bin/env bash
# Installs the Debian or Ubuntu packages that building and testing need and that are missing; nothing else.
# Quick and silent when all are there.
set -euo pipefail

# package, the file that shows it is there, why it is needed
needed=(
  "build-essential|/usr/bin/cc|compiles the C parts of dependencies (zstd)"
  "pkg-config|/usr/bin/pkg-config|finds libraries while building"
  "libseccomp-dev|/usr/include/seccomp.h|system call filters of containers"
  "ca-certificates|/etc/ssl/certs/ca-certificates.crt|trust for image registries"
  "busybox-static|/usr/share/doc/busybox-static|the content of the images that demo and tests make"
  "runc|/usr/sbin/runc|the runtime that ours is tested and measured against"
  "skopeo|/usr/bin/skopeo|pushes test images to a local registry"
  "docker-registry|/usr/bin/docker-registry|a real image registry on a loopback port, for tests"
  "iproute2|/sbin/ip|looks at links in tests and demo"
  "umoci|/usr/bin/umoci|makes images of several layers for tests"
  "openssl|/usr/bin/openssl|certificates of test registries"
  "jq|/usr/bin/jq|reads what --json prints, in the demo and the figures"
  "protobuf-compiler|/usr/bin/protoc|compiles the definitions of etcd's API"
  "libprotobuf-dev|/usr/include/google/protobuf/empty.proto|definitions that etcd's API builds on"
  "etcd-server|/usr/bin/etcd|a real etcd, for tests"
  "etcd-client|/usr/bin/etcdctl|looks into that etcd, in tests"
  "time|/usr/bin/time|tells the memory of a solve, in the figures"
)

missing=()
for entry in "${needed[@]}"; do
  IFS='|' read -r package file why <<<"$entry"
  if [[ ! -e $file && ! -e /usr$file ]]; then
    missing+=("$package")
    echo "missing: $package - $why"
  fi
done
[[ ${#missing[@]} -eq 0 ]] && exit 0

if ! command -v apt-get >/dev/null; then
  echo "error: this script knows Debian and Ubuntu only; install the equivalents of: ${missing[*]}" >&2
  exit 1
fi
sudo=()
if [[ $(id -u) -ne 0 ]]; then
  command -v sudo >/dev/null || { echo "error: run as root, or install sudo: ${missing[*]}" >&2; exit 1; }
  sudo=(sudo)
fi
install() {
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends "${missing[@]}"
}
# The lists may be fresh enough; fetching them is the slow part. docker-registry's service is not wanted running, so
# nothing is started during the installation (policy-rc.d is how Debian says so).
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
  printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee "$policy" >/dev/null
  "${sudo[@]}" chmod 755 "$policy"
  trap '"${sudo[@]}" rm -f "$policy"' EXIT
fi
echo "installing: ${missing[*]}"
install || { "${sudo[@]}" apt-get update --quiet && install; }
