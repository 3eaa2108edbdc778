-- The MariaDB application of the benchmark: the orders of a shop.
--
-- @scale is set by the caller; 80 makes 4 500 000 orders with 9 800 000 items. Every value is a hash of its row
-- number, so two runs make the same rows.

create database shop;
use shop;
set time_zone = '+00:00';

create table customers (
	id int primary key, name varchar(80), email varchar(120), phone varchar(24), city varchar(40), created datetime,
	notes text) engine = innodb;
create table products (
	id int primary key, sku char(12), title varchar(120), price decimal(10, 2), descr text) engine = innodb;
create table orders (
	id int primary key, customer int, created datetime, status varchar(12), total decimal(10, 2), ship varchar(120),
	token char(40), key (customer)) engine = innodb;
create table items (
	id int primary key, order_id int, product int, qty tinyint, price decimal(10, 2), key (order_id)) engine = innodb;

delimiter //
create procedure add_customers(first_id int, last_id int)
	insert into customers
	select seq,
		concat(elt(1 + crc32(seq) % 12, 'Anna', 'Boris', 'Chen', 'Divya', 'Elif', 'Farid', 'Grace', 'Hugo', 'Ines',
				'Jonas', 'Kofi', 'Lena'), ' ',
			elt(1 + crc32(seq + 7) % 10, 'Smith', 'Garcia', 'Novak', 'Okafor', 'Tanaka', 'Singh', 'Muller', 'Rossi',
				'Silva', 'Kowalski')),
		concat('u', seq, '.', substr(md5(seq), 1, 4), '@',
			elt(1 + crc32(seq * 3) % 3, 'example.com', 'example.org', 'mail.test')),
		concat('+', 1 + crc32(seq * 5) % 98, ' ', 100 + crc32(seq * 7) % 899, ' ', 1000000 + crc32(seq * 11) % 8999999),
		elt(1 + crc32(seq * 13) % 8, 'Berlin', 'Lagos', 'Osaka', 'Lima', 'Pune', 'Lyon', 'Austin', 'Gdansk'),
		'2018-01-01' + interval (seq * 97) % 200000000 second,
		concat(elt(1 + crc32(seq * 17) % 4, 'prefers e-mail', 'do not call', 'long-time customer, handle with care',
			'asked for invoice by post'), '; ref ', crc32(seq * 19))
	from seq_1_to_100000000 where seq between first_id and last_id//

create procedure add_products(first_id int, last_id int)
	insert into products
	select seq, upper(substr(md5(seq * 31), 1, 12)),
		concat('Item ', seq, ' ', elt(1 + crc32(seq) % 6, 'steel', 'oak', 'cotton', 'glass', 'paper', 'wool'), ' ',
			elt(1 + crc32(seq + 1) % 6, 'chair', 'lamp', 'bag', 'cup', 'frame', 'scarf')),
		1 + (crc32(seq * 37) % 90000) / 100,
		repeat(concat('Durable ', elt(1 + crc32(seq) % 6, 'steel', 'oak', 'cotton', 'glass', 'paper', 'wool'),
			' design no. ', crc32(seq), '. '), 8)
	from seq_1_to_100000000 where seq between first_id and last_id//

create procedure add_orders(first_id int, last_id int)
	insert into orders
	select seq, 1 + crc32(seq * 41) % 800000, '2021-01-01' + interval seq * 31 second,
		elt(1 + crc32(seq * 43) % 5, 'new', 'paid', 'shipped', 'done', 'done'), 5 + (crc32(seq * 47) % 200000) / 100,
		concat(1 + crc32(seq * 53) % 400, ' ',
			elt(1 + crc32(seq * 59) % 8, 'Main St', 'High Rd', 'Oak Ave', 'Lindenweg', 'Rue Verte', 'Via Roma',
				'Calle Sol', 'Park Ln'), ', ', 10000 + crc32(seq * 61) % 89999),
		sha1(seq)
	from seq_1_to_100000000 where seq between first_id and last_id//

create procedure add_items(first_id int, last_id int)
	insert into items
	select seq, 1 + floor(seq / 2.2), 1 + crc32(seq * 67) % 60000, 1 + crc32(seq * 71) % 4,
		1 + (crc32(seq * 73) % 90000) / 100
	from seq_1_to_100000000 where seq between first_id and last_id//
delimiter ;

call add_customers(1, 10000 * @scale);
call add_products(1, 750 * @scale);
call add_orders(1, 56250 * @scale);
call add_items(1, 122500 * @scale);
