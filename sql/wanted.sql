-- The known values of a column of landed rows.
SELECT DISTINCT {{value}} AS _value
FROM landed
WHERE {{value}} <> ''
