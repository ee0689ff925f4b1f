-- What undoing a merge would do to the rows that it had changed: taken out again, put back, left since they are others by
-- now, and those that are as before already.
SELECT
  COUNT(CASE WHEN _t._there AND {{untouched}} AND _c._found IS NULL THEN 1 END) AS removed,
  COUNT(CASE WHEN _t._there AND {{untouched}} AND _c._found THEN 1 END) AS restored,
  COUNT(CASE WHEN _t._there AND NOT {{untouched}} AND NOT (_c._found IS TRUE AND {{as_before}}) THEN 1 END) AS changed_since,
  COUNT(CASE WHEN _t._there IS NULL OR (NOT {{untouched}} AND _c._found AND {{as_before}}) THEN 1 END) AS as_before
FROM {{changes}} AS _c
LEFT JOIN (SELECT *, TRUE AS _there FROM {{target}} WHERE {{touched}}) AS _t ON {{same_key}}
