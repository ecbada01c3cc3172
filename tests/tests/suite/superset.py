"""Sends what Apache Superset sent, as recorded beside this file, each on a connection of its own as Superset does."""

import json
import os
import pathlib
import sys

import psycopg

CONNECTION, OUT = sys.argv[1], sys.argv[2]
RECORDED = pathlib.Path(__file__).with_name("superset.sql").read_text(encoding="utf-8")
# what is in the field for engine parameters of a database that may spend
OPTIONS = "-c coalition.scope=local -c coalition.rho=0.0001 -c coalition.budget=0.0001"
told = []

for part in RECORDED.split("--! ")[1:]:
    expected, sql = part.split("\n", 1)
    one = {"expected": expected, "sql": sql, "state": "00000", "hint": None, "rows": []}
    with psycopg.connect(CONNECTION, options=OPTIONS) as connection:
        connection.execute('set search_path = "public"')
        try:
            rows = connection.execute(sql).fetchall()
            one["rows"] = [[None if value is None else str(value) for value in row] for row in rows]
        except psycopg.Error as error:
            one["state"], one["hint"] = error.sqlstate, error.diag.message_hint
            connection.rollback()
        one["left"] = connection.execute("SHOW coalition.budget").fetchone()[0]
    told.append(one)

with open(OUT + ".part", "w", encoding="utf-8") as file:
    json.dump(told, file)
os.rename(OUT + ".part", OUT)
