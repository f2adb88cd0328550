-- Opens a dispatch of the oldest due campaigns, in the order of their arrival, up to the bounds in
-- number and in text, but of at least one. It returns no row if no campaign is due.
WITH oldest AS (
    SELECT campaign_key, source_at, source_partition, source_offset,
           octet_length(restaurant_id) + octet_length(adv_campaign_id)
           + octet_length(adv_campaign_content) + octet_length(adv_campaign_owner)
           + octet_length(adv_campaign_owner_contact) AS text_bytes
    FROM promo_ledger.decided_campaigns
    WHERE state = 'due'
    ORDER BY source_at, source_partition, source_offset
    LIMIT %(campaigns)s),
due AS (
    SELECT campaign_key,
           row_number() OVER arrived AS position,
           sum(text_bytes) OVER arrived AS text_bytes
    FROM oldest
    WINDOW arrived AS (ORDER BY source_at, source_partition, source_offset, campaign_key)),
chosen AS (
    SELECT campaign_key, position FROM due WHERE position = 1 OR text_bytes <= %(text_bytes)s),
dispatch AS (
    INSERT INTO promo_ledger.dispatches (topic, shards, campaigns)
    SELECT %(topic)s, %(shards)s, count(*) FROM chosen HAVING count(*) > 0
    RETURNING dispatch_id, topic, shards, attempt),
members AS (
    UPDATE promo_ledger.campaigns c
    SET dispatch_id = dispatch.dispatch_id,
        dispatch_position = chosen.position,
        state = 'dispatched'
    FROM chosen, dispatch
    WHERE c.campaign_key = chosen.campaign_key)
SELECT dispatch_id, topic, shards, attempt, false AS frozen FROM dispatch
