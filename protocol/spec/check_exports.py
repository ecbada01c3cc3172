#!/usr/bin/env python3
"""Shows the sample exports to a parser that is not ours.

    pip install pyiso20022 lxml xsdata
    python3 protocol/spec/check_exports.py [file.xml ...]

Reads each message into the classes that pyiso20022 generates from ISO 20022's schemas, strictly:
unknown elements, wrong order of choice and missing required fields are errors, and so is any
pattern or length that the schema states. Then checks that debits and credits are equal and that
opening balance and booked entries give the closing balance. Without arguments it reads `samples/`.
"""

import dataclasses
import re
import sys
from decimal import Decimal
from pathlib import Path

from pyiso20022.camt import camt_053_001_12
from pyiso20022.pacs import pacs_029_001_02
from xsdata.formats.dataclass.parsers import XmlParser
from xsdata.formats.dataclass.parsers.config import ParserConfig

STRICT = ParserConfig(fail_on_unknown_properties=True, fail_on_unknown_attributes=True,
                      fail_on_converter_warnings=True)


def facets(value, path):
    """Raises when a value breaks a restriction that its field states."""
    for field in dataclasses.fields(value):
        meta, found = field.metadata, getattr(value, field.name)
        here = f"{path}/{meta.get('name', field.name)}"
        items = found if isinstance(found, list) else [found]
        if len(items) < meta.get("min_occurs", 0):
            raise ValueError(f"{here}: too few")
        for item in (item for item in items if item is not None):
            if dataclasses.is_dataclass(item):
                facets(item, here)
            text = str(item)
            if not meta.get("min_length", 0) <= len(text) <= meta.get("max_length", 10**9):
                raise ValueError(f"{here}: length of {text!r}")
            if (pattern := meta.get("pattern")) and not re.fullmatch(pattern, text):
                raise ValueError(f"{here}: {text!r} does not match {pattern}")
            if isinstance(item, Decimal) and -item.as_tuple().exponent > meta.get("fraction_digits", 99):
                raise ValueError(f"{here}: {text!r} has too many decimals")


def signed(indicator, amount):
    return amount if indicator.value == "CRDT" else -amount


def pacs_029(document):
    request = document.mul_sttlm_req
    moved = [record.amt for one in request.sttlm_req for record in one.mvmnt_rcrd]
    assert sum(signed(it.cdt_dbt, it.amt.value) for it in moved) == 0, "debits are not credits"
    assert sum(it.amt.value for it in moved) == request.grp_hdr.ctrl_sum, "the control sum differs"
    return f"{len(moved)} movements"


def camt_053(document):
    for statement in document.bk_to_cstmr_stmt.stmt:
        balance = {it.tp.cd_or_prtry.cd: signed(it.cdt_dbt_ind, it.amt.value) for it in statement.bal}
        booked = [it for it in statement.ntry if it.sts.cd == "BOOK"]
        moved = sum(signed(it.cdt_dbt_ind, it.amt.value) for it in booked)
        assert balance["OPBD"] + moved == balance["CLBD"], "the balances do not follow"
    return f"{len(statement.ntry)} entries, {len(booked)} booked"


def main(paths):
    for path in paths:
        text = path.read_bytes()
        module, check = ((pacs_029_001_02, pacs_029) if b"pacs.029.001.02" in text
                         else (camt_053_001_12, camt_053))
        document = XmlParser(config=STRICT).from_bytes(text, module.Document)
        facets(document, "")
        print(f"{path.name}: {check(document)}")


if __name__ == "__main__":
    samples = sorted((Path(__file__).parent / "samples").glob("*.xml"))
    main([Path(name) for name in sys.argv[1:]] or samples)
