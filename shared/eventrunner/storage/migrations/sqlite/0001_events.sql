create table tenants (
    number integer primary key,
    name text not null unique
);

-- Appended to, so that a batch touches few pages; `number` also orders events of one time.
create table events (
    number integer primary key,
    tenant integer not null,
    time integer not null,
    type text not null,
    source text not null,
    body blob not null
);

create index events_by_time on events (tenant, time);

-- Hashes of (tenant, source, id), see sqlite_identities.py.
create table identities (
    id_hash integer not null,
    source_hash integer not null,
    event integer not null,
    primary key (id_hash, source_hash)
) without rowid;

-- The same for the newest events, one row a batch: 16 bytes each for the events first_event, first_event + 1, ...
create table recent_identities (
    first_event integer primary key,
    keys blob not null
);
