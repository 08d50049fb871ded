-- Of several rows of a key the one with the earliest `receivedtime` counts, and of those the one that was written first:
-- what has been answered once, no later delivery changes.
ALTER TABLE events ADD COLUMN IF NOT EXISTS
    writtentime DateTime64(6, 'UTC') COMMENT 'when this row was written; in 2299 for one made again from the event store';
ALTER TABLE usage_events ADD COLUMN IF NOT EXISTS
    writtentime DateTime64(6, 'UTC') COMMENT 'when this row was written';
-- An event that was dropped is one identity with its row, if rules let it pass when it came again.
CREATE OR REPLACE VIEW tenant_usage
(
    tenant_id String,
    timestamp DateTime,
    cpu_usage Float64,
    memory_usage Float64,
    network_ingress Float64,
    network_egress Float64
)
AS SELECT
    CAST(tenantid AS String) AS tenant_id,
    CAST(toStartOfMinute(tupleElement(kept, 1)) AS DateTime) AS timestamp,
    sum(tupleElement(kept, 5)) / 1e9 AS cpu_usage,
    sum(tupleElement(kept, 6)) / 1048576000. AS memory_usage,
    CAST(sum(tupleElement(kept, 3)) AS Float64) AS network_ingress,
    CAST(sum(tupleElement(kept, 4)) AS Float64) AS network_egress
FROM
(
    SELECT tenantid, min(tuple(receivedtime, writtentime, usagein, usageout, usagecpu, usagemem)) AS kept
    FROM
    (
        SELECT tenantid, source, id, receivedtime, writtentime, usagein, usageout, usagecpu, usagemem FROM events
        UNION ALL
        SELECT
            tenantid, subject_source AS source, subject_id AS id,
            receivedtime, writtentime, usagein, usageout, usagecpu, usagemem
        FROM usage_events
        WHERE kind = 'dropped'
    )
    GROUP BY tenantid, source, id
    UNION ALL
    SELECT tenantid, min(tuple(receivedtime, writtentime, usagein, usageout, usagecpu, usagemem)) AS kept
    FROM usage_events
    WHERE kind != 'dropped'
    GROUP BY tenantid, id
)
GROUP BY tenant_id, timestamp;
