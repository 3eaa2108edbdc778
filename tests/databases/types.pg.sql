-- Tables of as many types as PostgreSQL has without extensions, rows that are hard to print, and the things beside tables.
create type mood as enum ('sad', 'ok', 'über glücklich');
create type pair as (a int, b text);
create domain positive as int check (value > 0);
create table everything (
  id bigint generated always as identity primary key,
  i2 smallint, i4 int, n numeric(30, 10), f4 real, f8 double precision, m money,
  t text, vc varchar(50), c char(8), b bytea, ok boolean,
  d date, ti time, tz timetz, ts timestamp, tstz timestamptz, iv interval,
  u uuid, j json, jb jsonb, ip inet, net cidr, mac macaddr,
  p point, bx box, pa path, po polygon, ci circle,
  bi bit(5), vb bit varying(20), r int4range, tr tstzrange, mr nummultirange,
  v tsvector, q tsquery, ints int[], texts text[][],
  mo mood, pr pair, po_ positive, twice int generated always as (i4 * 2) stored
);
insert into everything (i2, i4, n, f4, f8, m, t, vc, c, b, ok, d, ti, tz, ts, tstz, iv, u, j, jb, ip, net, mac, p, bx, pa,
  po, ci, bi, vb, r, tr, mr, v, q, ints, texts, mo, pr, po_)
select (g % 32767), g, g / 7.0, g / 3.0, sqrt(g), g::text::money,
  'row ' || g || E'\ttab\nline\\backslash ''quote'' \u00e4\U0001F600' || repeat('x', g % 97), 'vc ' || g, 'c' || g % 1000,
  decode(md5(g::text), 'hex'), g % 3 = 0, date '2000-01-01' + g, time '00:00' + g * interval '1 second',
  timetz '12:00+02' + g * interval '1 second', timestamp '1999-12-31' + g * interval '1 hour',
  timestamptz '1999-12-31 00:00+00' + g * interval '1 minute', g * interval '1 day 2 hours 3.5 seconds',
  md5(g::text)::uuid, json_build_object('g', g, 'list', array[g, g + 1]), jsonb_build_object('g', g, 'n', null),
  ('10.' || g % 256 || '.3.4')::inet, ('10.' || g % 256 || '.0.0/16')::cidr, '08:00:2b:01:02:03',
  point(g, -g), box(point(0, 0), point(g, g)), '[(0,0),(1,1)]', '((0,0),(1,1),(2,0))', circle(point(g, g), 2.5),
  (g % 32)::bit(5), '1011', int4range(g, g + 10), tstzrange('2020-01-01', null), '{[1.5,2.5),[7,8)}',
  to_tsvector('simple', 'word' || g || ' other'), 'word & other', array[g, null, -g], array[['a,"b"', null], ['{c}', '\']],
  (array['sad', 'ok', 'über glücklich'])[1 + g % 3]::mood, row(g, 'pair, (' || g || ')')::pair, g
from generate_series(1, 8000) g;
-- What is easily lost: nothing at all, the ends of the ranges, what looks like the end of a COPY or of a dump.
insert into everything (t) values (null), (''), (E'\\.'), (E'\\N'), (E'a\n--\n-- PostgreSQL database dump complete\n--\n');
insert into everything (f4, f8, n, d, ts, iv) values
  ('nan', 'infinity', 'nan', 'infinity', '-infinity', '-178000000 years'), ('-0', 5e-324, -0.0000000001, '4713-01-01 bc', '294276-01-01', '0');
insert into everything (b) values (''), ('\x00ff00'), (decode(repeat('00', 300000), 'hex'));

create table parted (id int, day date, note text) partition by range (day);
create table parted_1 partition of parted for values from ('2024-01-01') to ('2024-07-01');
create table parted_2 partition of parted for values from ('2024-07-01') to ('2025-01-01');
insert into parted select g, date '2024-01-01' + g % 366, md5(g::text) from generate_series(1, 5000) g where g % 366 < 366;
create table parent (id int primary key, name text unique);
create table child (id serial primary key, parent int references parent on delete cascade, weight numeric check (weight >= 0));
insert into parent select g, 'parent ' || g from generate_series(1, 100) g;
insert into child (parent, weight) select 1 + g % 100, g / 4.0 from generate_series(1, 3000) g;
create table nothing ();
insert into nothing default values;
create unlogged table empty (id int);
create schema "odd names";
create table "odd names"."Tab""le
with newline" ("select" int, "Ä ö" text);
insert into "odd names"."Tab""le
with newline" values (1, 'x'), (2, null);
create view heavy as select * from child where weight > 100;
create materialized view totals as select parent, sum(weight) as sum from child group by parent;
create function double(x int) returns int language sql immutable as $body$ select x * 2; -- $$ in a body $body$;
create function stamp() returns trigger language plpgsql as $$ begin new.name := upper(new.name); return new; end $$;
create trigger stamp before update on parent for each row execute function stamp();
create index on everything using gin (jb);
create index on everything (double(i4)) where ok;
create rule quiet as on delete to parent do instead nothing;
comment on table parent is E'a comment\nof two lines';
select lo_from_bytea(4711, decode(repeat('00ff', 50000), 'hex'));
