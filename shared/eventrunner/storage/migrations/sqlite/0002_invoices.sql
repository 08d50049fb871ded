create table invoices (
    number integer primary key,
    tenant text not null,
    id text not null,
    period text not null,
    body blob not null,
    unique (tenant, id)
);
