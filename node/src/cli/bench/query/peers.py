"""Grouped count and sum over one Parquet file, by other libraries of differential privacy.

    python peers.py rows.parquet MEMBERS GROUPS

The file has member, department and amount_fen. Each library that is installed answers the same question alone:
rows and spending by department, the departments known, each member's rows bounded. One JSON object on stdout:
seconds by library, set-up and reading included where the library does both, null where it is not installed.
"""

import importlib.util
import json
import sys
import time

ROWS_PER_MEMBER = 20
AMOUNT_MAX = 50_000


def opendp_polars(path, members, groups):
    import opendp.prelude as dp
    import polars as pl

    dp.enable_features("contrib")
    began = time.perf_counter()
    context = dp.Context.compositor(
        data=pl.scan_parquet(path),
        privacy_unit=dp.unit_of(contributions=1, identifier=pl.col("member")),
        privacy_loss=dp.loss_of(rho=0.005),
        split_evenly_over=1,
        margins=[
            dp.polars.Margin(
                by=["department"], max_length=members * ROWS_PER_MEMBER, max_groups=len(groups)
            )
        ],
    )
    query = (
        context.query()
        .truncate_per_group(ROWS_PER_MEMBER)
        .group_by("department")
        .agg(dp.len(signed=True), pl.col("amount_fen").fill_null(0).dp.sum(bounds=(0, AMOUNT_MAX)))
        .with_keys(pl.LazyFrame({"department": groups}))
    )
    answer = query.release().collect()
    seconds = time.perf_counter() - began
    assert len(answer) == len(groups), answer
    return seconds


def smartnoise(path, members, groups):
    import pandas as pd
    import snsql

    began = time.perf_counter()
    rows = pd.read_parquet(path)
    metadata = {
        "": {
            "bench": {
                "rows": {
                    "row_privacy": False,
                    "max_ids": ROWS_PER_MEMBER,
                    "rows": len(rows),
                    "member": {"type": "int", "private_id": True},
                    "department": {"type": "string", "card": len(groups)},
                    "amount_fen": {"type": "int", "lower": 0, "upper": AMOUNT_MAX},
                }
            }
        }
    }
    privacy = snsql.Privacy(epsilon=0.5, delta=1e-6)
    reader = snsql.from_df(rows, privacy=privacy, metadata=metadata)
    answer = reader.execute(
        "SELECT department, COUNT(*) AS n, SUM(amount_fen) AS s FROM bench.rows GROUP BY department"
    )
    seconds = time.perf_counter() - began
    assert len(answer) == len(groups) + 1, answer
    return seconds


def pipeline_dp(path, members, groups):
    import pipeline_dp
    import pyarrow.parquet

    began = time.perf_counter()
    table = pyarrow.parquet.read_table(path).to_pydict()
    rows = list(zip(table["member"], table["department"], table["amount_fen"]))
    accountant = pipeline_dp.NaiveBudgetAccountant(total_epsilon=0.5, total_delta=1e-6)
    engine = pipeline_dp.DPEngine(accountant, pipeline_dp.LocalBackend())
    params = pipeline_dp.AggregateParams(
        noise_kind=pipeline_dp.NoiseKind.GAUSSIAN,
        metrics=[pipeline_dp.Metrics.COUNT, pipeline_dp.Metrics.SUM],
        max_partitions_contributed=ROWS_PER_MEMBER,
        max_contributions_per_partition=ROWS_PER_MEMBER,
        min_value=0,
        max_value=AMOUNT_MAX,
    )
    extractors = pipeline_dp.DataExtractors(
        privacy_id_extractor=lambda row: row[0],
        partition_extractor=lambda row: row[1],
        value_extractor=lambda row: row[2],
    )
    answer = engine.aggregate(rows, params, extractors, public_partitions=groups)
    accountant.compute_budgets()
    answer = list(answer)
    seconds = time.perf_counter() - began
    assert len(answer) == len(groups), answer
    return seconds


PEERS = {"opendp": opendp_polars, "snsql": smartnoise, "pipeline_dp": pipeline_dp}


def main():
    path, members, groups = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    departments = [f"D{index:02}" for index in range(1, groups + 1)]
    seconds = {}
    for module, ask in PEERS.items():
        if importlib.util.find_spec(module) is None:
            seconds[module] = None
            continue
        try:
            seconds[module] = ask(path, members, departments)
        except Exception as error:  # a peer of another version is no reason to stop
            print(f"{module}: {type(error).__name__}: {str(error)[:2000]}", file=sys.stderr)
            seconds[module] = None
    print(json.dumps(seconds))


main()
