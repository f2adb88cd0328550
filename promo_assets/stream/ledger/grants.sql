-- Exactly the privileges that the stream's role needs; {role} is that role. The tables belong to
-- their owner, who creates and upgrades them.
REVOKE ALL ON ALL TABLES IN SCHEMA promo_ledger FROM {role};
GRANT USAGE ON SCHEMA promo_ledger TO {role};
GRANT SELECT, UPDATE (epoch, holder) ON promo_ledger.stream TO {role};
GRANT SELECT, UPDATE (holder, started_at, beat_at, last_error, metrics, read_offsets)
    ON promo_ledger.heartbeat TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON promo_ledger.batches TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON promo_ledger.dispatches TO {role};
GRANT SELECT, INSERT, UPDATE ON promo_ledger.campaigns TO {role};
GRANT SELECT, INSERT, UPDATE (stored), DELETE ON promo_ledger.audience TO {role};
GRANT SELECT ON promo_ledger.decided_campaigns TO {role};
-- The view reads the favourites with its owner's privileges. The role's own SELECT is for the
-- counts on the asset page of subscribers_restaurants in Dagster.
GRANT SELECT ON promo_ledger.open_dispatch_followers TO {role};
GRANT SELECT ON subscribers_restaurants TO {role};
-- The stream inserts rows without feedback. If somebody has set the sequence of the ids back, it
-- reads the ids and raises the sequence.
GRANT SELECT (id), INSERT (
        restaurant_id, adv_campaign_id, adv_campaign_content, adv_campaign_owner,
        adv_campaign_owner_contact, adv_campaign_datetime_start, adv_campaign_datetime_end,
        datetime_created, client_id, trigger_datetime_created)
    ON subscribers_feedback TO {role};
GRANT UPDATE ON SEQUENCE subscribers_feedback_id_seq TO {role};
