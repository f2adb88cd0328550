#!/usr/bin/env bash
# `docker-compose config` reads the file as Docker does, and needs no engine. CI gets it; elsewhere its test is skipped where it is missing.
set -u
[ "${CI:-}" = true ] && ! command -v docker-compose >/dev/null && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || exit 0
export DEBIAN_FRONTEND=noninteractive
{ apt-get update -qq && apt-get install -y -qq --no-install-recommends docker-compose; } >/dev/null || echo "docker-compose could not be installed" >&2
