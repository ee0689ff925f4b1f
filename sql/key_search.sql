-- The days, other than the touched ones, on which the target holds a key of the staged winners; NULL for a row without
-- a day. The staged rows come first: they are the few of which a table of hashes is made. No day is before the first:
-- BigQuery refuses a query that filters by partition only with a NOT, where a table wants it.
SELECT DISTINCT {{day}} AS _day
FROM {{staged}} AS _s
JOIN {{target}} AS _t ON {{same_key}}
WHERE {{day}} IS NULL OR ({{day}} >= DATE '0001-01-01' AND NOT ({{touched}}))
