CREATE SOURCE auction (id BIGINT, item_name VARCHAR, description VARCHAR, initial_bid BIGINT, reserve BIGINT, date_time TIMESTAMP, expires TIMESTAMP, seller BIGINT, category BIGINT, extra VARCHAR) WITH
(connector = 'nexmark', nexmark.table.type = 'Auction', nexmark.event.num = '1000000', nexmark.split.num = '1', nexmark.seed = '42');
CREATE SOURCE person (id BIGINT, name VARCHAR, email_address VARCHAR, credit_card VARCHAR, city VARCHAR, state VARCHAR, date_time TIMESTAMP, extra VARCHAR) WITH
(connector = 'nexmark', nexmark.table.type = 'Person', nexmark.event.num = '1000000', nexmark.split.num = '1', nexmark.seed = '42');
CREATE SOURCE bid (auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR, date_time TIMESTAMP, extra VARCHAR) WITH
(connector = 'nexmark', nexmark.table.type = 'Bid', nexmark.event.num = '1000000', nexmark.split.num = '1', nexmark.seed = '42');
