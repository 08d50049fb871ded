-- Usage by tenant and minute, in core-seconds, GiB-seconds and bytes. For dashboards: bills are made of whole numbers.
CREATE VIEW IF NOT EXISTS tenant_usage
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
    sum(tupleElement(kept, 4)) / 1e9 AS cpu_usage,
    sum(tupleElement(kept, 5)) / 1048576000. AS memory_usage,
    CAST(sum(tupleElement(kept, 2)) AS Float64) AS network_ingress,
    CAST(sum(tupleElement(kept, 3)) AS Float64) AS network_egress
FROM
(
    SELECT tenantid, min(tuple(receivedtime, usagein, usageout, usagecpu, usagemem)) AS kept
    FROM events
    GROUP BY tenantid, source, id
    UNION ALL
    SELECT tenantid, min(tuple(receivedtime, usagein, usageout, usagecpu, usagemem)) AS kept
    FROM usage_events
    GROUP BY tenantid, id
)
GROUP BY tenant_id, timestamp;
