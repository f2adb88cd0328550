-- Starts the waiting campaigns whose start has come. The state is checked on the table's own row:
-- Postgres checks it again if the campaign is cancelled at the same moment.
WITH started AS (
    UPDATE promo_ledger.campaigns c
    SET trigger_datetime_created = %(time)s,
        state = CASE WHEN adv_campaign_datetime_end > %(time)s THEN 'due' ELSE 'expired' END
    WHERE state = 'waiting'
      AND adv_campaign_datetime_start <= %(time)s
      AND EXISTS (
          SELECT FROM promo_ledger.decided_campaigns d
          WHERE (d.campaign_key, d.query_id, d.batch_id)
              = (c.campaign_key, c.query_id, c.batch_id))
    RETURNING state)
SELECT count(*) FILTER (WHERE state = 'expired'), count(*) FILTER (WHERE state = 'due')
FROM started
