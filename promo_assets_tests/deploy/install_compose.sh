#!/usr/bin/env bash
# Installs docker-compose in CI. Its command `config` reads docker-compose.yml as Docker does, and needs
# no engine. Elsewhere, a test that needs it is skipped if it is missing.
set -u
[ "${CI:-}" = true ] && [ "$(id -u)" = 0 ] || exit 0
command -v docker-compose >/dev/null && exit 0
command -v apt-get >/dev/null || exit 0
export DEBIAN_FRONTEND=noninteractive
{
    apt-get update -qq && apt-get install -y -qq --no-install-recommends docker-compose
} >/dev/null || echo "install_compose.sh: cannot install docker-compose" >&2
