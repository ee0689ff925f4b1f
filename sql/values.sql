-- The known values of a column as text, each with how many rows have it. The day filter leaves nothing out: it is for a
-- table that wants to be told of which days.
SELECT {{value}} AS _value, COUNT(*) AS _rows
FROM {{target}}
WHERE {{any_day}}
  AND {{value}} IS NOT NULL{{and_equal}}
GROUP BY 1
