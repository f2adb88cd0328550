#!/usr/bin/env bash
# Playwright, and Debian's Chromium. CI gets both or fails; elsewhere the browser's tests are skipped where one is missing.
set -u
quiet="--quiet --disable-pip-version-check --no-input"
.venv/bin/python -m pip install $quiet --no-deps --require-hashes -r requirements-browser.lock || { [ "${CI:-}" = true ] && exit 1; }
[ "${CI:-}" = true ] && ! command -v chromium >/dev/null && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || exit 0
export DEBIAN_FRONTEND=noninteractive
{ apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; } >/dev/null || echo "Chromium could not be installed" >&2
