#!/usr/bin/env python3
"""An exchange, a question and a receipt, in one page. Against a node that runs:

    python3 generate.py > coalition_client.py
    python3 example.py --node https://127.0.0.1:7102 --trusted DATA/tls/cert.pem --log-key KEY \\
        --store sam --analyst ann --card CARD --to BRAND --points 40

Their passwords are asked for, or read from standard input, a line each: what stands on a command line is seen by
everybody on the machine. The card is of a member who has linked an account at the other brand; the log's key is the first line of the brand in
`coalition constitution keys`. It prints one JSON object.
"""

import argparse
import getpass
import json
import sys
import time

import receipt as receipts
from coalition_client import Client, Refused, idempotency_key


def until(what, look, seconds=180):
    """Looks again until there is something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.2)
    raise SystemExit(f"{what}: not within {seconds} s")


def exchange(client, card, to, points):
    """Moves points, and waits until the exchange is final and acknowledged."""
    key = idempotency_key()
    asked = client.exchange({"card": card, "to": to, "points": points}, idempotency_key=key)
    # what has no answer is repeated under the same key, and is still one exchange
    assert client.exchange({"card": card, "to": to, "points": points}, idempotency_key=key)["id"] == asked["id"]

    def acknowledged():
        view = client.exchange_by_id(asked["id"])
        return view if view["state"] == "acknowledged" else None

    return until("the exchange is acknowledged", acknowledged)


def question(client, sql):
    """Sees what a question costs, asks it, and waits for the answer."""
    plan = client.plan({"sql": sql, "scope": "local", "pico_rho": 1_000_000_000})
    asked = client.query({"sql": sql, "scope": "local", "pico_rho": 1_000_000_000, "plan": plan["plan"]})

    def answered():
        view = client.query_by_id(asked["id"])
        return view if view["step"] in ("released", "void") else None

    return plan, until("the question is answered", answered)


def password(user):
    """Of a user, from whoever sits there, or the next line of what is piped in."""
    if sys.stdin.isatty():
        return getpass.getpass(f"password of {user}: ")
    return sys.stdin.readline().rstrip("\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ["node", "trusted", "log-key", "store", "analyst", "card", "to"]:
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--points", type=int, default=40)
    given = parser.parse_args()
    stores, analysts = password(given.store), password(given.analyst)

    store = Client(given.node, given.trusted)
    store.login(given.store, stores)
    final = exchange(store, given.card, given.to, given.points)

    # the receipt is checked without the node: its key and its published log are enough
    text = store.receipt(final["id"]).decode()
    anyone = Client(given.node, given.trusted)
    index, entry = receipts.verify(text, given.log_key, anyone.tile)
    assert index == final["leaf"]

    analyst = Client(given.node, given.trusted)
    analyst.login(given.analyst, analysts)
    sql = "SELECT count(distinct member) AS members FROM purchases"
    plan, answer = question(analyst, sql)

    # a refusal has a stable code and says what would be right
    try:
        store.exchange({"card": given.card, "to": given.to, "points": 10**9}, idempotency_key=idempotency_key())
        raise SystemExit("more points were exchanged than there are")
    except Refused as refused:
        assert (refused.status, refused.code) == (422, "balance_too_low"), refused

    print(
        json.dumps(
            {
                "exchange": {name: final[name] for name in ("id", "to", "state", "points_sent", "points_received")},
                "receipt": {"index": index, "entry_bytes": len(entry)},
                "question": {
                    "cost_pico_rho": plan["cost_pico_rho"],
                    "step": answer["step"],
                    "rows": (answer.get("release") or {}).get("rows"),
                },
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
