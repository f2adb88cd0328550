-- Records a micro-batch whose messages are all ingested, with its numbers of campaigns by state.
-- It returns no row if the batch was recorded before: a batch that is replayed is counted once.
INSERT INTO promo_ledger.batches AS b
    (query_id, batch_id, messages, rejected, repeated, expired, waiting, due)
SELECT %(query_id)s, %(batch_id)s, %(messages)s, %(rejected)s,
       %(messages)s - %(rejected)s - count(*),
       count(*) FILTER (WHERE state = 'expired'),
       count(*) FILTER (WHERE state = 'waiting'),
       count(*) FILTER (WHERE state = 'due')
FROM promo_ledger.campaigns
WHERE (query_id, batch_id) = (%(query_id)s, %(batch_id)s)
ON CONFLICT DO NOTHING
RETURNING messages, rejected, repeated, expired, waiting, due
