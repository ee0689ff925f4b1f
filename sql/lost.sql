-- How many keys one version of the target has and the next one has not, on the days that a merge wrote anew.
-- A row that moves leaves one of these days for another of them.
SELECT COUNT(*) AS lost
FROM (
  SELECT {{key}} FROM {{before}} WHERE {{changed}}
  EXCEPT DISTINCT
  SELECT {{key}} FROM {{after}} WHERE {{changed}}
) AS _l
