#!/bin/bash
# Creates the missing files in ./secrets: random passwords, and the URLs that contain them. Existing
# files are left as they are.
set -euo pipefail
umask 077
mkdir -p secrets
secret() { # name, content
    [ -e "secrets/$1" ] && return
    printf '%s' "$2" >"secrets/$1.new"
    # Each service runs as a user of its own, so all may read the file; the folder is private.
    chmod 0444 "secrets/$1.new"
    mv "secrets/$1.new" "secrets/$1"
}
password() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
for role in owner stream lake dagster; do secret "${role}_password" "$(password)"; done
secret owner_url "postgresql://promo:$(cat secrets/owner_password)@postgres:5432/promo"
secret stream_url "postgresql://promo_stream:$(cat secrets/stream_password)@postgres:5432/promo"
secret lake_url "postgresql://promo_lake:$(cat secrets/lake_password)@postgres:5432/promo"
secret dagster_url "postgresql://dagster:$(cat secrets/dagster_password)@postgres:5432/dagster"
