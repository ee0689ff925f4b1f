-- Some of these keys.
SELECT {{key}}
FROM {{after}} AS r
GROUP BY {{key}}
HAVING COUNT(*) > 1
LIMIT 10
