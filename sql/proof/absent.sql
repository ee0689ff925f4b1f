-- Rows whose key is not in the target as it is.
SELECT {{day}} AS _of, COUNT(*) AS _rows
FROM {{rows}} AS _r
LEFT JOIN (SELECT {{key_columns}}, TRUE AS _found FROM {{after}}) AS _a ON {{same_key}}
WHERE _a._found IS NULL AND NOT {{without_key}}
GROUP BY 1
ORDER BY 1
