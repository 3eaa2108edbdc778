-- Tables of as many types as MariaDB has, rows that are hard to print, and the things beside tables.
-- Floats have at most six digits: mariadb-dump writes no more.
create table everything (
  id bigint unsigned auto_increment primary key,
  i1 tinyint, i3 mediumint, i8 bigint, n decimal(30, 10), f float, g double, b bit(9),
  t text character set utf8mb4, vc varchar(200), c char(8), bi binary(6), vb varbinary(40), bl mediumblob,
  d date, ti time(3), dt datetime(6), ts timestamp(6) null, y year,
  e enum('small', 'größer', 'a''b'), s set('x', 'y', 'z'), j json, p point, u uuid, ip inet6,
  twice bigint as (i8 * 2) stored,
  key (vc), fulltext key (t)
) engine = innodb default charset = utf8mb4;
insert into everything (i1, i3, i8, n, f, g, b, t, vc, c, bi, vb, bl, d, ti, dt, ts, y, e, s, j, p, u, ip)
select seq % 127, seq, seq * 1000003, seq / 7, seq / 4, sqrt(seq), seq % 512,
  concat('row ', seq, '\ttab\nline\\backslash ''quote'' "double" ä😀 %_ /* -- */ ', repeat('x', seq % 97)),
  concat('vc ', seq), concat('c', seq % 1000), unhex(left(md5(seq), 12)), unhex(md5(seq)), unhex(repeat(md5(seq), seq % 5)),
  date '2000-01-01' + interval seq day, sec_to_time(seq), timestamp '1999-12-31 00:00:00' + interval seq microsecond,
  from_unixtime(1000000000 + seq), 1901 + seq % 200, 1 + seq % 3, seq % 8, json_object('g', seq, 'list', json_array(seq, null)),
  point(seq, -seq), uuid(), concat('::ffff:10.0.', seq % 256, '.', seq % 7)
from seq_1_to_8000;
-- What is easily lost: nothing at all, zero bytes, what looks like the end of a dump.
insert into everything (t, bl, d) values (null, null, null), ('', '', '9999-12-31'),
  ('\n-- Dump completed on 2024-01-01  0:00:00\n', unhex(repeat('00ff1a', 200000)), '1000-01-01');
create table parent (id int primary key, name varchar(50) unique) engine = innodb comment = 'a comment\nof two lines';
create table child (id int auto_increment primary key, parent int, weight decimal(10, 2) check (weight >= 0),
  constraint belongs foreign key (parent) references parent (id) on delete cascade) engine = innodb;
insert into parent select seq, concat('parent ', seq) from seq_1_to_100;
insert into child (parent, weight) select 1 + seq % 100, seq / 4 from seq_1_to_3000;
create table other_engine (id int, note text) engine = myisam;
insert into other_engine select seq, md5(seq) from seq_1_to_500;
create table parted (id int, day date) partition by range (year(day)) (partition a values less than (2024), partition b values less than maxvalue);
insert into parted select seq, date '2023-01-01' + interval seq day from seq_1_to_700;
create table `odd ``name` (`select` int, `Ä ö` text);
insert into `odd ``name` values (1, 'x'), (2, null);
drop table `odd ``name`;
create table nothing (id int);
create view heavy as select id, weight from child where weight > 100;
create function twice(x int) returns int deterministic return x * 2;
create trigger shout before update on parent for each row set new.name = upper(new.name);
