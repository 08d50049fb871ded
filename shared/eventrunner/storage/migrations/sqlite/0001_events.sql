create table tenants (
    number integer primary key,
    name text not null unique
);

-- The bodies of a put: a JSON array in zstd, of the events first_event, first_event + 1, ...; and their times, 8 bytes
-- each in the order of the machine.
create table segments (
    first_event integer primary key,
    times blob not null,
    bodies blob not null
);

-- Where to find them; `number` also orders events of one time.
create table events (
    tenant integer not null,
    time integer not null,
    number integer not null,
    type text not null,
    source text not null,
    primary key (tenant, time, number)
) without rowid;

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
