-- When the first of the span's events was received, in microseconds, or earlier: a later segment may hold what was
-- received before an earlier one's, such as what a replay derived. 0 is not known.
alter table spans add column first_received integer not null default 0;
