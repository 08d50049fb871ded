create table tenants (
    number integer primary key,
    name text not null unique
);

-- The events first_event, first_event + 1, ... of a put, packed; see sqlite_segments.py.
create table segments (
    first_event integer primary key,
    count integer not null,
    columns blob not null,
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

-- Keys of (tenant, source, id) in sorted runs, see sqlite_identities.py.
create table identities (
    run integer not null,
    key integer not null,
    event integer not null,
    primary key (run, key)
) without rowid;

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
