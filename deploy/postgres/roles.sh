#!/bin/bash
# Creates the roles of the stream, the lake and Dagster, and Dagster's database. The Postgres image
# runs this script once, when its volume is empty.
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
