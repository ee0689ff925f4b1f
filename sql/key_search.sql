-- The days, other than the touched ones, on which the target holds a key of the staged winners; NULL for a row without
-- a day. No day is before the first: BigQuery refuses a query that filters by partition only with a NOT, where a table
-- wants it.
SELECT DISTINCT {{day}} AS _day
FROM {{target}} AS t
WHERE ({{day}} IS NULL OR ({{day}} >= DATE '0001-01-01' AND NOT ({{touched}})))
  AND EXISTS (SELECT 1 FROM {{staged}} AS s WHERE {{same_key}})
