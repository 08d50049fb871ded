-- What a replay derived is on no bill, so it is in no usage either.
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
        WHERE replayid = ''
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
