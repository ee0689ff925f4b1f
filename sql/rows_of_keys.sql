-- The rows whose key is in a list of keys (SEMI), or is not (ANTI). NULL equals NULL here.
SELECT {{columns}}
FROM {{rows}} AS r LEFT {{kind}} JOIN {{keys}} AS k ON {{same_key}}
