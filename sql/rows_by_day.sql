-- How many rows a table has on each day from one on. Only the partitions of these days are read.
SELECT {{day}} AS _day, COUNT(*) AS _rows
FROM {{target}}
WHERE {{day}} >= DATE '{{from}}'
GROUP BY 1
