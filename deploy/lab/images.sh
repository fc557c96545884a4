#!/usr/bin/env bash
# Builds the images of the services, and stand-ins under the names of the backends' official images.
# usage: images.sh [TAG]   (as scripts/images.sh)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
scripts/images.sh "$@"

scripts/backends.sh # brings Kafka's jars
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
cp -r deploy/lab/stand-ins/. "$context"
cp -r build/kafka/lib "$context/libs"
read -ra options <<<"${DOCKER_BUILD_OPTIONS:-}"
while read -r target image; do
  DOCKER_BUILDKIT=1 docker build "${options[@]}" --quiet --target "$target" --tag "$image" "$context"
done <<IMAGES
kafka apache/kafka:4.4.0
postgresql postgres:17-bookworm
redis redis:7.2-bookworm
etcd quay.io/coreos/etcd:v3.5.21
IMAGES
