-- Brings one batch of staged winners into the target. Idempotent: run twice, it changes nothing the second time.
-- The source is deduplicated here though the file already is: duplicate new keys would be inserted silently.
-- Literal days prune the target; the source is filtered inside USING, or rows outside would count as not matched.
MERGE {{target}} AS _t
USING (
  SELECT {{columns}}
  FROM {{staged}}{{where_staged}}
  QUALIFY ROW_NUMBER() OVER (PARTITION BY {{key}} ORDER BY {{total_order}}) = 1
) AS _s
ON {{same_key}}{{and_touched}}{{when_matched}}
WHEN NOT MATCHED BY TARGET THEN
  INSERT ({{columns}})
  VALUES ({{values}})
