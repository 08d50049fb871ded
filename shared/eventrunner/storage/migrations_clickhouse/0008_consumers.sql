-- What tenants' consumers used: a row for each event and consumer, of kind `handled` or `failed`. Its bytes are those that
-- the guest was handed and has published, so none of them came in at ingest, and the event is accepted elsewhere.
ALTER TABLE usage_events ADD COLUMN IF NOT EXISTS
    consumer LowCardinality(String) COMMENT 'the consumer of the tenant that used it; empty for a stage of the platform';
ALTER TABLE usage_events ADD COLUMN IF NOT EXISTS
    fuel UInt64 COMMENT 'WebAssembly instructions, about';
CREATE OR REPLACE VIEW tenant_usage
(
    tenant_id String,
    timestamp DateTime,
    cpu_usage Float64,
    memory_usage Float64,
    network_ingress Float64,
    network_egress Float64
)
AS WITH
    arrived AS
    (
        SELECT
            tenantid, CAST(source AS String) AS source, id, receivedtime, writtentime, usagein, usageout, usagecpu,
            usagemem, replayid != '' AS replayed
        FROM events
        UNION ALL
        SELECT
            tenantid, CAST(subject_source AS String) AS source, subject_id AS id, receivedtime, writtentime, usagein,
            usageout, usagecpu, usagemem, false AS replayed
        FROM usage_events
        WHERE kind = 'dropped'
    ),
    once AS
    (
        SELECT tenantid, min(tuple(receivedtime, writtentime, usagein, usageout, usagecpu, usagemem)) AS kept
        FROM arrived
        WHERE NOT replayed
        GROUP BY tenantid, source, id
    ),
    ended AS
    (
        SELECT
            tenantid,
            tupleElement(kept, 7) AS source,
            tupleElement(kept, 8) AS id,
            min(tupleElement(kept, 1)) AS at,
            sum(tupleElement(kept, 3)) AS usagein,
            sum(tupleElement(kept, 4)) AS usageout,
            sum(tupleElement(kept, 5)) AS usagecpu,
            sum(tupleElement(kept, 6)) AS usagemem
        FROM
        (
            SELECT
                tenantid,
                min(tuple(receivedtime, writtentime, usagein, usageout, usagecpu, usagemem,
                          CAST(subject_source AS String), subject_id)) AS kept
            FROM usage_events
            WHERE kind != 'dropped' AND consumer = ''
            GROUP BY tenantid, usage_events.id
        )
        GROUP BY tenantid, source, id
    ),
    came AS
    (
        SELECT tenantid, source, id, tupleElement(min(tuple(receivedtime, writtentime, usagein)), 3) AS usagein
        FROM arrived
        WHERE (tenantid, source, id) IN (SELECT tenantid, source, id FROM ended)
        GROUP BY tenantid, source, id
    ),
    consumed AS
    (
        SELECT tenantid, min(tuple(receivedtime, writtentime, usagein, usageout, usagecpu, usagemem)) AS kept
        FROM usage_events
        WHERE consumer != ''
        GROUP BY tenantid, usage_events.id
    ),
    facts AS
    (
        SELECT
            tenantid,
            tupleElement(kept, 1) AS at,
            tupleElement(kept, 3) AS usagein,
            tupleElement(kept, 4) AS usageout,
            tupleElement(kept, 5) AS usagecpu,
            tupleElement(kept, 6) AS usagemem
        FROM (SELECT tenantid, kept FROM once UNION ALL SELECT tenantid, kept FROM consumed)
        UNION ALL
        SELECT
            ended.tenantid AS tenantid,
            ended.at AS at,
            toUInt64(ended.usagein - least(ended.usagein, came.usagein)) AS usagein,
            ended.usageout AS usageout,
            ended.usagecpu AS usagecpu,
            ended.usagemem AS usagemem
        FROM ended
        LEFT JOIN came ON ended.tenantid = came.tenantid AND ended.source = came.source AND ended.id = came.id
    )
SELECT
    CAST(tenantid AS String) AS tenant_id,
    CAST(toStartOfMinute(at) AS DateTime) AS timestamp,
    sum(usagecpu) / 1e9 AS cpu_usage,
    sum(usagemem) / 1048576000. AS memory_usage,
    CAST(sum(usagein) AS Float64) AS network_ingress,
    CAST(sum(usageout) AS Float64) AS network_egress
FROM facts
GROUP BY tenant_id, timestamp;
