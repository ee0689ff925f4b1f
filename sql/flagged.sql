-- The keys whose rows meet a condition together, such as two different known values of what numbers real events.
SELECT {{key_columns}}, COUNT(*) AS _rows
FROM {{rows}}
GROUP BY {{key}}
HAVING {{condition}}
