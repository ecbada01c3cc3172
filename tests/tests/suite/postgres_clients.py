"""What an analyst's program does: psycopg, SQLAlchemy and pandas against the door of a node."""

import json
import os
import sys

import pandas
import psycopg
import sqlalchemy

CONNECTION, OUT = sys.argv[1], sys.argv[2]
MEMBERS = "SELECT count(distinct member) AS members FROM purchases"
LOCAL = "-c coalition.scope=local"
told = {}


def connect(**more):
    return psycopg.connect(CONNECTION, options=LOCAL, **more)


# without a budget nothing is asked, and the transaction has to be ended
with connect() as connection:
    try:
        connection.execute(MEMBERS)
    except psycopg.Error as error:
        told["unconfirmed"] = error.sqlstate
        told["hint"] = error.diag.message_hint
    try:
        connection.execute("SELECT 1")
    except psycopg.Error as error:
        told["aborted"] = error.sqlstate
    connection.rollback()
    connection.execute("SET coalition.budget = '0.012'")
    told["members"] = connection.execute(MEMBERS).fetchone()[0]
    # given again for nothing, in each form of the protocol
    told["again"] = connection.execute(MEMBERS, []).fetchone()[0]
    told["binary"] = connection.cursor(binary=True).execute(MEMBERS).fetchone()[0]
    for _ in range(3):
        told["prepared"] = connection.execute(MEMBERS, prepare=True).fetchone()[0]

# parameters are literals of the question
by = "SELECT department, count(distinct member) AS members FROM purchases WHERE {} GROUP BY department"
with connect(autocommit=True) as connection:
    connection.execute("SET coalition.rho = '0.001'")
    connection.execute("SET coalition.budget = '0.002'")
    literal = by.format("department IN ('GROCERY', 'DRUG GM') AND quantity >= 1")
    told["departments"] = connection.execute(literal).fetchall()
    bound = by.format("department IN (%s, %s) AND quantity >= %s")
    told["departments_by_parameter"] = connection.execute(bound, ["GROCERY", "DRUG GM", 1]).fetchall()
    try:
        connection.execute(by.format("department = %s"), ["x' OR department = 'GROCERY"])
    except psycopg.Error as error:
        told["injected"] = error.sqlstate

# SQLAlchemy lists, asks, and pandas makes a frame of it
engine = sqlalchemy.create_engine(
    "postgresql+psycopg://", creator=connect, pool_size=2, max_overflow=0
)
inspector = sqlalchemy.inspect(engine)
assert inspector.get_schema_names() == ["information_schema", "public"], inspector.get_schema_names()
assert inspector.get_table_names() == []
told["views"] = inspector.get_view_names()
columns = inspector.get_columns("purchases")
told["columns"] = [f"{column['name']}: {column['type']}" for column in columns]
assert all(column["comment"] for column in columns), columns
assert inspector.get_pk_constraint("purchases")["constrained_columns"] == []
assert inspector.get_foreign_keys("purchases") == []
assert inspector.get_indexes("purchases") == []
assert inspector.get_unique_constraints("purchases") == []
assert inspector.get_check_constraints("purchases") == []
assert inspector.has_table("purchases")
metadata = sqlalchemy.MetaData()
metadata.reflect(engine, views=True)
purchases = metadata.tables["purchases"]
with engine.connect() as connection:
    told["sqlalchemy"] = connection.execute(sqlalchemy.text(MEMBERS)).scalar()
    told["pandas"] = float(pandas.read_sql(sqlalchemy.text(MEMBERS), connection)["members"][0])
    connection.exec_driver_sql("SET coalition.rho = '0.001'")
    connection.exec_driver_sql("SET coalition.budget = '0.001'")
    members = sqlalchemy.func.count(sqlalchemy.distinct(purchases.c.member)).label("members")
    department = purchases.c.department
    asked = sqlalchemy.select(department, members).where(department == "GROCERY").group_by(department)
    frame = pandas.read_sql(asked, connection)
    told["frame"] = list(frame.columns)
    assert list(frame["department"]) == ["GROCERY"] or len(frame) > 0, frame

with open(OUT + ".part", "w") as file:
    json.dump(told, file)
os.rename(OUT + ".part", OUT)
