-- The two tables of spec 1.2 are other services' contract: made where they are missing, never altered.
CREATE TABLE IF NOT EXISTS subscribers_restaurants (
    id serial4 PRIMARY KEY, client_id varchar NOT NULL, restaurant_id varchar NOT NULL);

CREATE TABLE IF NOT EXISTS subscribers_feedback (
    id serial4 PRIMARY KEY,
    restaurant_id text NOT NULL, adv_campaign_id text NOT NULL, adv_campaign_content text NOT NULL,
    adv_campaign_owner text NOT NULL, adv_campaign_owner_contact text NOT NULL,
    adv_campaign_datetime_start int8 NOT NULL, adv_campaign_datetime_end int8 NOT NULL,
    datetime_created int8 NOT NULL, client_id text NOT NULL,
    trigger_datetime_created int4 NOT NULL, feedback varchar NULL);

-- The lookup of a restaurant's followers: index only, ordered by client. An index entry has a size limit, and the
-- mobile backend must never fail because of our index: over-long ids (in practice none) have a small index of their own.
CREATE INDEX IF NOT EXISTS subscribers_restaurants_followers ON subscribers_restaurants (restaurant_id, client_id)
    WHERE octet_length(restaurant_id) + octet_length(client_id) <= 2000;
CREATE INDEX IF NOT EXISTS subscribers_restaurants_followers_long ON subscribers_restaurants (md5(restaurant_id))
    WHERE octet_length(restaurant_id) + octet_length(client_id) > 2000;

-- Not named like a likely role: a schema named like the role comes first on its search path, and would shadow the tables above.
CREATE SCHEMA IF NOT EXISTS promo_ledger;

-- One row: which ledger this is (random, so that a rebuilt database is another one) and who holds the lease.
CREATE TABLE IF NOT EXISTS promo_ledger.stream (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    ledger_id uuid NOT NULL DEFAULT gen_random_uuid(),
    epoch int8 NOT NULL DEFAULT 0,
    holder text);
INSERT INTO promo_ledger.stream DEFAULT VALUES ON CONFLICT DO NOTHING;

-- One row: the running stream's sign of life, apart from promo_ledger.stream because writers hold a share lock on that.
CREATE TABLE IF NOT EXISTS promo_ledger.heartbeat (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    holder text, started_at timestamptz, beat_at timestamptz, last_error text);
INSERT INTO promo_ledger.heartbeat DEFAULT VALUES ON CONFLICT DO NOTHING;

-- A row: a micro-batch of Spark's whose messages have all been ingested.
CREATE TABLE IF NOT EXISTS promo_ledger.batches (
    query_id uuid, batch_id int8, finished_at timestamptz NOT NULL DEFAULT now(),
    messages int8 NOT NULL, rejected int8 NOT NULL, repeated int8 NOT NULL, expired int8 NOT NULL, waiting int8 NOT NULL, due int8 NOT NULL,
    PRIMARY KEY (query_id, batch_id));

-- A row: a dispatch, some due campaigns whose audience is frozen together; at most one is unfinished.
CREATE TABLE IF NOT EXISTS promo_ledger.dispatches (
    dispatch_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    topic text NOT NULL, shards int4 NOT NULL, frozen_at timestamptz, campaigns int4 NOT NULL, pairs int8, finished_at timestamptz);
CREATE UNIQUE INDEX IF NOT EXISTS dispatches_one_open ON promo_ledger.dispatches ((true)) WHERE finished_at IS NULL;

-- A row: the first valid message of a (restaurant_id, adv_campaign_id, datetime_created), kept for good: repeats are known by it.
-- waiting for its start -> due -> dispatched, or expired.
-- The key is a digest because ids may be longer than an index entry; none of this schema's keys comes from a sequence.
CREATE TABLE IF NOT EXISTS promo_ledger.campaigns (
    campaign_key bytea PRIMARY KEY,
    restaurant_id text NOT NULL, adv_campaign_id text NOT NULL, adv_campaign_content text NOT NULL,
    adv_campaign_owner text NOT NULL, adv_campaign_owner_contact text NOT NULL,
    adv_campaign_datetime_start int8 NOT NULL, adv_campaign_datetime_end int8 NOT NULL, datetime_created int8 NOT NULL,
    query_id uuid NOT NULL, batch_id int8 NOT NULL,
    source_at int8 NOT NULL, source_partition int4 NOT NULL, source_offset int8 NOT NULL,
    state text NOT NULL CHECK (state IN ('waiting', 'due', 'expired', 'dispatched')),
    trigger_datetime_created int4,
    dispatch_id uuid REFERENCES promo_ledger.dispatches, dispatch_position int4,
    CHECK (state NOT IN ('due', 'dispatched') OR trigger_datetime_created IS NOT NULL));
CREATE INDEX IF NOT EXISTS campaigns_waiting ON promo_ledger.campaigns (adv_campaign_datetime_start) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS campaigns_due ON promo_ledger.campaigns (source_at, source_partition, source_offset) WHERE state = 'due';
CREATE INDEX IF NOT EXISTS campaigns_of_batch ON promo_ledger.campaigns (query_id, batch_id);
CREATE INDEX IF NOT EXISTS campaigns_of_dispatch ON promo_ledger.campaigns (dispatch_id) WHERE dispatch_id IS NOT NULL;

-- A row: some of an unfinished dispatch's pairs, as [[dispatch_position, [client_id, ...]], ...].
CREATE TABLE IF NOT EXISTS promo_ledger.audience (
    dispatch_id uuid NOT NULL REFERENCES promo_ledger.dispatches, shard int4 NOT NULL, chunk int4 NOT NULL,
    pairs json NOT NULL, stored boolean NOT NULL DEFAULT false,
    PRIMARY KEY (dispatch_id, shard, chunk));

-- What Spark's JDBC reader asks, as constant text: the open dispatch's followers. One row per (restaurant, client).
CREATE OR REPLACE VIEW promo_ledger.open_dispatch_followers AS
SELECT r.restaurant_id, f.client_id
FROM (SELECT DISTINCT c.restaurant_id FROM promo_ledger.campaigns c
      WHERE c.dispatch_id = (SELECT u.dispatch_id FROM promo_ledger.dispatches u WHERE u.finished_at IS NULL)) r
CROSS JOIN LATERAL (
    SELECT DISTINCT s.client_id::text AS client_id FROM subscribers_restaurants s
    WHERE s.restaurant_id = r.restaurant_id AND octet_length(s.restaurant_id) + octet_length(s.client_id) <= 2000
    UNION ALL
    SELECT DISTINCT s.client_id::text FROM subscribers_restaurants s
    WHERE md5(s.restaurant_id) = md5(r.restaurant_id) AND s.restaurant_id = r.restaurant_id
      AND octet_length(s.restaurant_id) + octet_length(s.client_id) > 2000) f;
