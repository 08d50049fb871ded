-- Usage that does not ride on a row of `events`: of events that were dropped or failed, and of consumers.
-- A key (tenantid, id) may come more than once, as in `events`.
CREATE TABLE IF NOT EXISTS usage_events
(
    tenantid LowCardinality(String),
    tenant_id String ALIAS tenantid,
    id String,
    stage LowCardinality(String),
    kind LowCardinality(String) COMMENT 'dropped, failed, or what else used something',
    subject_source LowCardinality(String),
    subject_id String,
    receivedtime DateTime64(6, 'UTC'),
    usagein UInt64,
    usageout UInt64,
    usagecpu UInt64,
    usagemem UInt64,
    usagerules UInt64
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(receivedtime)
ORDER BY (tenantid, receivedtime);
