-- Each staged winner beside the target's row of its key, if it has one on the touched days.
-- A difference counts only where the staged value is known.
SELECT {{columns}}, _t._found AS _found, {{day_before}} AS _day_before, {{day_after}} AS _day_after,
  COALESCE({{newer}}, FALSE) AS _newer,
  COALESCE({{older}}, FALSE) AS _older,
  COALESCE({{differs}}, FALSE) AS _differs,
  COALESCE({{suspect}}, FALSE) AS _suspect,
  COALESCE({{redated}}, FALSE) AS _redated
FROM {{staged}} AS _s
LEFT JOIN (SELECT {{target_columns}}, TRUE AS _found FROM {{target}} WHERE {{touched}}) AS _t ON {{same_key}}
