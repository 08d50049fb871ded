-- One row per delivery of an event; a key (tenantid, source, id) may come more than once, and every query that counts
-- takes it once. Times that ClickHouse can hold are in `time`; any other keeps its text in `timetext`.
CREATE TABLE IF NOT EXISTS events
(
    tenantid LowCardinality(String),
    tenant_id String ALIAS tenantid COMMENT 'the name that `tenant_usage` has for it',
    source LowCardinality(String),
    id String,
    type LowCardinality(String),
    subject String,
    time Nullable(DateTime64(6, 'UTC')),
    timetext String,
    receivedtime DateTime64(6, 'UTC'),
    datacontenttype LowCardinality(String),
    dataschema LowCardinality(String),
    traceparent String,
    causeid String COMMENT 'id of the event that a rule derived this one from; empty for an event from outside',
    usagein UInt64 COMMENT 'bytes received at ingest',
    usageout UInt64 COMMENT 'bytes published to the stream of the tenant',
    usagecpu UInt64 COMMENT 'CPU nanoseconds',
    usagemem UInt64 COMMENT 'KiB * milliseconds of memory',
    usagerules UInt64 COMMENT 'rule conditions evaluated',
    extensions String COMMENT 'all other attributes as a JSON object',
    data String COMMENT 'the JSON value as it came, byte for byte',
    data_base64 String
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(receivedtime)
ORDER BY (tenantid, receivedtime);
