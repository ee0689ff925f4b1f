"""Runs the statements of a proof with DuckDB: the same promises, asked of another engine.

proof.py proof.sql proof.json     prints nothing and ends with 0 where every figure is the same
"""

import json
import sys

import duckdb


def statements(text):
    for statement in text.split(";\n"):
        body = "\n".join(line for line in statement.split("\n") if not line.startswith("--")).strip()
        if body:
            yield body


def same_keys(connection, statement, check):
    """Each key that the proof names is one that the statement finds, and it names as many as it may."""
    assert statement.endswith("\nLIMIT 10"), statement
    rows = connection.execute(statement.removesuffix("\nLIMIT 10")).fetchall()
    every = {tuple(None if part is None else str(part) for part in key) for key in rows}
    told = [tuple(key) for key in check["examples"]]
    assert len(told) == len(set(told)) == min(10, len(every)), (every, told)
    assert set(told) <= every, (every, told)


def main():
    text, proof = open(sys.argv[1], encoding="utf-8").read(), json.load(open(sys.argv[2], encoding="utf-8"))
    connection = duckdb.connect()
    answers, asked = [], []
    for statement in statements(text):
        answer = connection.execute(statement)
        if statement.startswith("SELECT"):
            names = [column[0] for column in answer.description]
            answers.append((names, answer.fetchall()))
            asked.append(statement)
    for check in proof["checks"]:
        mine = [answers.pop(0) for _ in check["sql"]]
        own = [asked.pop(0) for _ in check["sql"]]
        if check["name"] == "keys":
            keys, total = mine[0][1][0]
            told = f"{keys:,} key{'' if keys == 1 else 's'} with the sum {int(total or 0)}"
            assert check["counted"].startswith(told), (check, told)
            found = max(abs(keys - mine[1][1][0][0]), int(total != mine[1][1][0][1]))
            if proof["inserted_by_others"] == 0:
                assert found == check["found"], (check, mine)
        elif check["name"] == "blanked_columns":
            names, rows = mine[0]
            found = {name: count for name, count in zip(names, rows[0]) if count}
            assert found == check["by"], (check, mine)
        elif check["sql"]:
            found = {str(of) if of else "without a day": int(count) for of, count in mine[0][1]}
            assert found == check["by"], (check, mine)
            assert sum(found.values()) == check["found"], check
        if len(check["sql"]) == 2 and check["name"] != "keys":
            same_keys(connection, own[1], check)
    assert not answers, answers


main()
