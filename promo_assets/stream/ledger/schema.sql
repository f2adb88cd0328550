-- The tables, indexes and views of the stream, in the shape of the newest version. `apply_ddl`
-- (schema.py) runs this file after the upgrade steps. It creates what is missing, alters nothing.

-- Rule 1.2: these two tables are shared with other services. They are created where they are
-- missing and never altered.
CREATE TABLE IF NOT EXISTS subscribers_restaurants (
    id serial4 PRIMARY KEY,
    client_id varchar NOT NULL,
    restaurant_id varchar NOT NULL);

CREATE TABLE IF NOT EXISTS subscribers_feedback (
    id serial4 PRIMARY KEY,
    restaurant_id text NOT NULL,
    adv_campaign_id text NOT NULL,
    adv_campaign_content text NOT NULL,
    adv_campaign_owner text NOT NULL,
    adv_campaign_owner_contact text NOT NULL,
    adv_campaign_datetime_start int8 NOT NULL,
    adv_campaign_datetime_end int8 NOT NULL,
    datetime_created int8 NOT NULL,
    client_id text NOT NULL,
    trigger_datetime_created int4 NOT NULL,
    feedback varchar NULL);
-- The lake reads one day of this table and the push service looks up one batch: each is a range of
-- pages, which a BRIN index finds at almost no cost for the writers (docs/adr/0017).
CREATE INDEX IF NOT EXISTS subscribers_feedback_triggered
    ON subscribers_feedback
    USING brin (trigger_datetime_created int4_minmax_multi_ops)
    WITH (pages_per_range = 32, autosummarize = on);

-- Finds the followers of a restaurant by an index-only scan, ordered by client. An index entry has
-- a maximum size, and this index must never make an insert of the mobile backend fail. Ids that
-- are too long for it (in practice there are none) are in a small index of their own.
CREATE INDEX IF NOT EXISTS subscribers_restaurants_followers
    ON subscribers_restaurants (restaurant_id, client_id)
    WHERE octet_length(restaurant_id) + octet_length(client_id) <= 2000;
CREATE INDEX IF NOT EXISTS subscribers_restaurants_followers_long
    ON subscribers_restaurants (md5(restaurant_id))
    WHERE octet_length(restaurant_id) + octet_length(client_id) > 2000;

-- The name is not a likely name of a role: a schema with the role's name is first on the role's
-- search path, and its tables would shadow the two above.
CREATE SCHEMA IF NOT EXISTS promo_ledger;

-- One row: the identity of this ledger, the run that holds the lease, and the schema's version.
-- ledger_id is random, so that a rebuilt database is a different ledger. `apply_ddl` sets version.
CREATE TABLE IF NOT EXISTS promo_ledger.stream (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    ledger_id uuid NOT NULL DEFAULT gen_random_uuid(),
    epoch int8 NOT NULL DEFAULT 0,
    holder text,
    version int4 NOT NULL DEFAULT 0);
INSERT INTO promo_ledger.stream DEFAULT VALUES ON CONFLICT DO NOTHING;

-- One row: the heartbeat and the metrics of the running stream. They are not in promo_ledger.stream
-- because writers hold a share lock on that row. read_offsets outlives a run. It is
-- {"topic_id": ..., "offsets": {partition: offset}}: all messages below have been ingested.
CREATE TABLE IF NOT EXISTS promo_ledger.heartbeat (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    holder text,
    started_at timestamptz,
    beat_at timestamptz,
    last_error text,
    metrics jsonb,
    read_offsets jsonb);
INSERT INTO promo_ledger.heartbeat DEFAULT VALUES ON CONFLICT DO NOTHING;

-- One row per finished micro-batch of Spark, which means that all its messages have been ingested.
CREATE TABLE IF NOT EXISTS promo_ledger.batches (
    query_id uuid,
    batch_id int8,
    finished_at timestamptz NOT NULL DEFAULT now(),
    messages int8 NOT NULL,
    rejected int8 NOT NULL,
    repeated int8 NOT NULL,
    expired int8 NOT NULL,
    waiting int8 NOT NULL,
    due int8 NOT NULL,
    PRIMARY KEY (query_id, batch_id));
CREATE INDEX IF NOT EXISTS batches_finished
    ON promo_ledger.batches (finished_at, query_id, batch_id);
-- The batch of cleaned campaigns, which belongs to no query. A campaign without a batch counts as
-- undecided, so cleaned campaigns need a batch that is never deleted.
INSERT INTO promo_ledger.batches
        (query_id, batch_id, messages, rejected, repeated, expired, waiting, due)
    VALUES ('00000000-0000-0000-0000-000000000000', 0, 0, 0, 0, 0, 0, 0)
    ON CONFLICT DO NOTHING;

-- One row per dispatch: due campaigns whose audience is frozen together. At most one is unfinished.
-- attempt counts the attempts at freezing. What tasks of an earlier attempt record is ignored.
CREATE TABLE IF NOT EXISTS promo_ledger.dispatches (
    dispatch_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    topic text NOT NULL,
    shards int4 NOT NULL,
    frozen_at timestamptz,
    campaigns int4 NOT NULL,
    pairs int8,
    finished_at timestamptz,
    attempt int4 NOT NULL DEFAULT 0);
CREATE UNIQUE INDEX IF NOT EXISTS dispatches_one_open
    ON promo_ledger.dispatches ((true)) WHERE finished_at IS NULL;
CREATE INDEX IF NOT EXISTS dispatches_finished
    ON promo_ledger.dispatches (finished_at, dispatch_id) WHERE finished_at IS NOT NULL;

-- One row per (restaurant_id, adv_campaign_id, datetime_created): its first valid message. Rows are
-- never deleted, because a repeated message is recognized by them.
-- State: waiting for its start -> due -> dispatched; or expired; or cancelled while it waited.
-- Long after its end a campaign is cleaned: its key and state stay, but its texts, batch and
-- dispatch are removed.
-- The key is a digest because ids may be longer than an index entry. No key in this schema comes
-- from a sequence.
CREATE TABLE IF NOT EXISTS promo_ledger.campaigns (
    campaign_key bytea PRIMARY KEY,
    restaurant_id text NOT NULL,
    adv_campaign_id text NOT NULL,
    adv_campaign_content text NOT NULL,
    adv_campaign_owner text NOT NULL,
    adv_campaign_owner_contact text NOT NULL,
    adv_campaign_datetime_start int8 NOT NULL,
    adv_campaign_datetime_end int8 NOT NULL,
    datetime_created int8 NOT NULL,
    query_id uuid NOT NULL,
    batch_id int8 NOT NULL,
    source_at int8 NOT NULL,
    source_partition int4 NOT NULL,
    source_offset int8 NOT NULL,
    state text NOT NULL
        CHECK (state IN ('waiting', 'due', 'expired', 'dispatched', 'cancelled')),
    trigger_datetime_created int4,
    dispatch_id uuid REFERENCES promo_ledger.dispatches,
    dispatch_position int4,
    CHECK (state NOT IN ('due', 'dispatched') OR trigger_datetime_created IS NOT NULL));
CREATE INDEX IF NOT EXISTS campaigns_waiting
    ON promo_ledger.campaigns (adv_campaign_datetime_start) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS campaigns_due
    ON promo_ledger.campaigns (source_at, source_partition, source_offset) WHERE state = 'due';
CREATE INDEX IF NOT EXISTS campaigns_of_batch
    ON promo_ledger.campaigns (query_id, batch_id);
CREATE INDEX IF NOT EXISTS campaigns_of_dispatch
    ON promo_ledger.campaigns (dispatch_id) WHERE dispatch_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS campaigns_to_clean
    ON promo_ledger.campaigns (adv_campaign_datetime_end)
    WHERE state IN ('expired', 'dispatched', 'cancelled')
      AND query_id <> '00000000-0000-0000-0000-000000000000';

-- One row per chunk of an unfinished dispatch's audience. pairs is a list of
-- [dispatch_position, [client_id, ...]].
CREATE TABLE IF NOT EXISTS promo_ledger.audience (
    dispatch_id uuid NOT NULL REFERENCES promo_ledger.dispatches,
    shard int4 NOT NULL,
    chunk int4 NOT NULL,
    pairs json NOT NULL,
    stored boolean NOT NULL DEFAULT false,
    PRIMARY KEY (dispatch_id, shard, chunk));

-- The decided campaigns: their micro-batch is finished, so an earlier message of the same key
-- cannot replace them any more. The stream's role may only read this view, so a statement that
-- locks or changes rows names the table, and looks up the row's key and batch here. Only the
-- registration of messages (pipeline/ingest.py) looks at the batch itself: the row that it
-- conflicts with may be newer than its snapshot, and then this view does not show the row.
CREATE OR REPLACE VIEW promo_ledger.decided_campaigns AS
SELECT c.*
FROM promo_ledger.campaigns c
WHERE EXISTS (
    SELECT FROM promo_ledger.batches b
    WHERE (b.query_id, b.batch_id) = (c.query_id, c.batch_id));

-- The followers of the open dispatch's restaurants, one row per (restaurant, client). It is a view
-- because Spark's JDBC reader needs constant text.
CREATE OR REPLACE VIEW promo_ledger.open_dispatch_followers AS
SELECT r.restaurant_id, f.client_id
FROM (
    SELECT DISTINCT c.restaurant_id
    FROM promo_ledger.campaigns c
    WHERE c.dispatch_id = (
        SELECT d.dispatch_id FROM promo_ledger.dispatches d WHERE d.finished_at IS NULL)) r
CROSS JOIN LATERAL (
    SELECT DISTINCT s.client_id::text AS client_id
    FROM subscribers_restaurants s
    WHERE s.restaurant_id = r.restaurant_id
      AND octet_length(s.restaurant_id) + octet_length(s.client_id) <= 2000
    UNION ALL
    SELECT DISTINCT s.client_id::text
    FROM subscribers_restaurants s
    WHERE md5(s.restaurant_id) = md5(r.restaurant_id)
      AND s.restaurant_id = r.restaurant_id
      AND octet_length(s.restaurant_id) + octet_length(s.client_id) > 2000) f;
