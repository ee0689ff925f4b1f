-- The keys that the target holds more than once on the touched days.
SELECT {{key_columns}}, COUNT(*) AS _rows
FROM {{target}}
WHERE {{touched}}
GROUP BY {{key}}
HAVING COUNT(*) > 1
