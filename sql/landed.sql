-- The rows that land.
SELECT {{columns}}
FROM ({{judged}}) AS _judged
WHERE _reason IS NULL
