-- Staged winners whose event the target seems to have under another key: by the other key they are the same, or they
-- lack a part of the key that the target's row has, and agree in all others.
SELECT {{sides}}
FROM {{staged}} AS s
JOIN (SELECT * FROM {{target}} WHERE {{touched}}) AS t ON {{joined_by}}
WHERE NOT ({{same_key}}){{and_only}}
