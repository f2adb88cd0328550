#!/bin/bash
# Run once, by the Postgres image, when its volume is empty: the stream's role, the lake's, and Dagster's with its database.
set -euo pipefail
stream_password=$(cat "${SECRETS:-/run/secrets}"/stream_password)
lake_password=$(cat "${SECRETS:-/run/secrets}"/lake_password)
dagster_password=$(cat "${SECRETS:-/run/secrets}"/dagster_password)
psql -v ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<SQL
\set stream_password '$stream_password'
\set lake_password '$lake_password'
\set dagster_password '$dagster_password'
CREATE ROLE promo_stream LOGIN PASSWORD :'stream_password';
CREATE ROLE promo_lake LOGIN PASSWORD :'lake_password';
CREATE ROLE dagster LOGIN PASSWORD :'dagster_password';
CREATE DATABASE dagster OWNER dagster;
SQL
