-- Some of those keys.
SELECT DISTINCT {{key}}
FROM {{rows}} AS r
LEFT JOIN (SELECT {{key_columns}}, TRUE AS _found FROM {{after}}) AS a ON {{same_key}}
WHERE a._found IS NULL AND NOT {{without_key}}
LIMIT {{examples}}
