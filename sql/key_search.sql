-- The days, other than the touched ones, on which the target holds a key of the staged winners.
SELECT DISTINCT {{day}} AS _day
FROM {{target}} AS t
WHERE NOT ({{touched}}) AND EXISTS (SELECT 1 FROM {{staged}} AS s WHERE {{same_key}})
