create table tenants (
    number integer primary key,
    name text not null unique,
    -- Of the spans, in microseconds.
    longest_span integer not null default 0
);

-- The events first_event, first_event + 1, ... of a put, packed; see sqlite_segments.py.
create table segments (
    first_event integer primary key,
    count integer not null,
    kinds blob not null,
    columns blob not null,
    bodies blob not null
);

-- Which segments have events of a tenant, and from when to when, see sqlite_spans.py.
create table spans (
    tenant integer not null,
    first_time integer not null,
    segment integer not null,
    last_time integer not null,
    events integer not null,
    primary key (tenant, first_time, segment)
) without rowid;

create index spans_by_end on spans (tenant, last_time);

-- Keys of (tenant, source, id) in sorted runs, some hundred keys a row, see sqlite_identities.py.
create table identities (
    number integer primary key,
    run integer not null,
    first_key integer not null,
    keys blob not null,
    events blob not null,
    unique (run, first_key)
);

-- A run has the keys of all events up to last_event that the runs before it do not have.
create table runs (
    number integer primary key,
    last_event integer not null
);

-- The keys of later events, one row a put: 8 bytes each for the events first_event, first_event + 1, ...
create table recent_identities (
    first_event integer primary key,
    keys blob not null
);
