#!/usr/bin/env bash
# Builds the image of every service, and of `standalone` for the scheduled jobs: millrace/<package>:TAG. usage: images.sh [TAG] [PREFIX]
# TAG is 1.0.0 and PREFIX `millrace` by default; PREFIX may name a registry, to push there afterwards.
# DOCKER_BUILD_OPTIONS holds what a build needs on this machine alone, such as --network host or --secret id=ca,src=FILE.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tag=${1:-1.0.0}
prefix=${2:-millrace}
read -ra options <<<"${DOCKER_BUILD_OPTIONS:-}"
for package in auth-service id-service ingest-service query-service standalone; do
  DOCKER_BUILDKIT=1 docker build "${options[@]}" --quiet --build-arg PACKAGE="$package" --build-arg VERSION="$tag" \
    --tag "$prefix/$package:$tag" --file deploy/docker/service.Dockerfile .
done
