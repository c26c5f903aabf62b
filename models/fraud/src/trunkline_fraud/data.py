"""Reads transactions that somebody else recorded or simulated."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trunkline_fraud.transactions import Transactions

COLUMNS = ("TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT", "TX_FRAUD", "TX_FRAUD_SCENARIO")


def read(directory: Path) -> Transactions:
    """Every `transactions*.parquet` of a directory, in order of time (UTC), then of TRANSACTION_ID.

    The layout is that of the public fraud-detection handbook: TRANSACTION_ID, TX_DATETIME, CUSTOMER_ID,
    TERMINAL_ID, TX_AMOUNT, TX_FRAUD and, if there, TX_FRAUD_SCENARIO.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when a column is absent or holds nulls.
    """
    paths = sorted(directory.glob("transactions*.parquet"))
    if not paths:
        raise FileNotFoundError(f"no transactions*.parquet in {directory}")
    table = pa.concat_tables([_checked(path) for path in paths])
    table = table.sort_by([("TX_DATETIME", "ascending"), ("TRANSACTION_ID", "ascending")])

    times = table["TX_DATETIME"].cast(pa.timestamp("us")).cast(pa.int64())
    return Transactions(
        time_us=times.to_numpy(),
        customer=table["CUSTOMER_ID"].to_numpy().astype(np.int64),
        terminal=table["TERMINAL_ID"].to_numpy().astype(np.int64),
        cents=np.rint(table["TX_AMOUNT"].to_numpy().astype(np.float64) * 100).astype(np.int64),
        fraud=table["TX_FRAUD"].to_numpy().astype(np.bool_),
        scenario=table["TX_FRAUD_SCENARIO"].to_numpy().astype(np.int8),
    )


def _checked(path: Path) -> pa.Table:
    table = pq.read_table(path)
    if "TX_FRAUD_SCENARIO" not in table.column_names and "TX_FRAUD" in table.column_names:
        table = table.append_column("TX_FRAUD_SCENARIO", pa.array(np.zeros(len(table), np.int8)))
    wanted = ("TRANSACTION_ID", *COLUMNS)
    absent = [name for name in wanted if name not in table.column_names]
    if absent:
        raise ValueError(f"{path.name} lacks {', '.join(absent)}")
    nulls = [name for name in wanted if table[name].null_count]
    if nulls:
        raise ValueError(f"{path.name} holds nulls in {', '.join(nulls)}")
    return table.select(wanted)
