-- The PostgreSQL application of the benchmark: customers and a log of events with JSON, beside the tables of pgbench.
--
-- psql variables: scale (the pgbench scale; 80 makes 400 000 customers and 1 200 000 events), words (a word list).
-- Every value is a hash of its row number, so two runs make the same rows.

\set ON_ERROR_STOP on

create unlogged table word_list (word text);
\set load_words '\\copy word_list from ' :words
:load_words
create table words as
	select row_number() over (order by md5(word)) - 1 as id, word from word_list where word ~ '^[a-z]+$';
alter table words add primary key (id);
drop table word_list;

-- A number in [0, 1) drawn from a row number and the name of the draw.
create function draw(row_id bigint, what bigint) returns float8 language sql immutable
	as $$ select (hashint8extended(row_id, what) & 1048575) / 1048576.0::float8 $$;

create table customers (
	id bigint primary key, uid uuid not null, name text, email text, created timestamptz, address jsonb, tags text[]);
create table events (
	id bigint primary key, at timestamptz not null, customer bigint not null, kind text not null,
	amount numeric(12, 2), payload jsonb, note text);

create function add_customers(first_id bigint, last_id bigint) returns void language plpgsql as $$
declare
	word text[] := (select array_agg(w.word order by w.id) from words w);
	common constant int := 50000;
	host constant text[] := array['example.com', 'mail.test', 'corp.example', 'uni.example'];
begin
	insert into customers
	select i, md5('c' || i)::uuid,
		initcap(word[1 + floor(draw(i, 1) * common)] || ' ' || word[1 + floor(draw(i, 2) * common)]),
		word[1 + floor(draw(i, 1) * common)] || i || '@' || host[1 + floor(draw(i, 3) * 4)],
		timestamptz '2019-01-01 00:00+00' + (i * 311) % 150000000 * interval '1 second',
		jsonb_build_object(
			'street', floor(draw(i, 4) * 999)::int || ' ' || initcap(word[1 + floor(draw(i, 5) * 9000)]) || ' St',
			'zip', lpad(floor(draw(i, 6) * 99999)::text, 5, '0'),
			'city', initcap(word[1 + floor(draw(i, 7) * 600)]),
			'geo', jsonb_build_array(
				round((draw(i, 8) * 180 - 90)::numeric, 6), round((draw(i, 9) * 360 - 180)::numeric, 6))),
		array[word[1 + floor(draw(i, 10) * 200)], word[1 + floor(draw(i, 11) * 200)]]
	from generate_series(first_id, last_id) i;
end $$;

create function add_events(first_id bigint, last_id bigint) returns void language plpgsql as $$
declare
	word text[] := (select array_agg(w.word order by w.id) from words w);
	customers constant bigint := (select count(*) from customers);
	kind constant text[] := array['order.created', 'order.paid', 'order.shipped', 'page.view', 'page.view', 'page.view',
		'login', 'login.failed', 'refund'];
	agent constant text[] := array[
		'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36',
		'Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15', 'curl/8.7.1', 'okhttp/4.12.0'];
begin
	insert into events
	select i, timestamptz '2024-03-01 00:00+00' + i * 17 * interval '1 second',
		1 + floor(draw(i, 20) * customers)::bigint, kind[1 + floor(draw(i, 21) * 9)],
		round(exp(draw(i, 22) * 8)::numeric, 2),
		jsonb_build_object(
			'ip', format('10.%s.%s.%s', floor(draw(i, 23) * 255), floor(draw(i, 24) * 255), floor(draw(i, 25) * 255)),
			'ua', agent[1 + floor(draw(i, 26) * 4)],
			'session', md5('s' || i),
			'items', (select jsonb_agg(jsonb_build_object(
					'sku', upper(substr(md5('k' || floor(draw(i * 8 + j, 27) * 30000)), 1, 10)),
					'qty', 1 + floor(draw(i * 8 + j, 28) * 5)::int,
					'price', round((draw(i * 8 + j, 29) * 200)::numeric, 2)))
				from generate_series(1, 1 + floor(draw(i, 30) * 3)::int) j)),
		-- Log-uniform over the list: a few words are frequent and most are rare, as in prose.
		(select string_agg(word[1 + floor(exp(draw(i * 64 + j, 31) * 10.8))::int], ' ' order by j)
			from generate_series(1, 4 + floor(draw(i, 32) * 40)::int) j)
	from generate_series(first_id, last_id) i;
end $$;

select add_customers(1, 5000 * :scale);
select add_events(1, 15000 * :scale);
