-- Some of those keys.
SELECT {{key}}
FROM {{rows}} AS r
LEFT JOIN (SELECT {{key_columns}}, TRUE AS _found FROM {{after}}) AS a ON {{same_key}}
WHERE a._found IS NULL AND NOT {{without_key}}
GROUP BY {{key}}
HAVING COUNT(*) > 0
LIMIT 10
