-- The days, other than the touched ones, on which the target holds a key of the staged winners.
SELECT DISTINCT t._day AS _day
FROM {{target}} AS t LEFT SEMI JOIN {{staged}} AS s ON {{same_key}}
WHERE {{not_touched}}
