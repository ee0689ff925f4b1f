-- Staged winners whose event the target seems to have under another key: by the other key they are the same, or one of
-- them lacks a part of the key that the other has, and they agree in all other parts.
SELECT {{columns}}
FROM {{staged}} AS _s
WHERE EXISTS (SELECT 1 FROM {{target}} AS _t WHERE {{joined_by}} AND NOT ({{same_key}}){{and_only}})
