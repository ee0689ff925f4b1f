-- Keeps one row of each key: the first under the total order.
-- Runs in both engines. No two different rows tie in the total order, so the answer is always the same.
SELECT {{columns}}
FROM {{rows}}
QUALIFY ROW_NUMBER() OVER (PARTITION BY {{key}} ORDER BY {{total_order}}{{frame}}) = 1
