"""The model's input: which features in which order, and what stands in for an absent row."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from trunkline_fraud.transactions import DAY_US, HOUR_US, Transactions
from trunkline_fraud.windows import CUSTOMER_FIELDS, TERMINAL_FIELDS, customer_rows, terminal_rows

REQUEST_INPUTS = ("request:amount", "request:hour", "request:weekday", "request:night", "request:weekend")
CUSTOMER_INPUTS = tuple(f"customer_activity:{name}" for name in CUSTOMER_FIELDS)
TERMINAL_INPUTS = tuple(f"terminal_activity:{name}" for name in TERMINAL_FIELDS)
INPUTS = REQUEST_INPUTS + CUSTOMER_INPUTS + TERMINAL_INPUTS

AMOUNT = INPUTS.index("request:amount")
MEAN = INPUTS.index("customer_activity:mean_amount_30d")
DEVIATION = INPUTS.index("customer_activity:std_amount_30d")
DERIVED = ("amount over 30-day mean", "deviations from the 30-day mean")

_CUSTOMER = slice(len(REQUEST_INPUTS), len(REQUEST_INPUTS) + len(CUSTOMER_INPUTS))
_TERMINAL = slice(_CUSTOMER.stop, len(INPUTS))


def request_inputs(transactions: Transactions) -> npt.NDArray[np.float64]:
    """[N, REQUEST_INPUTS]: what the transaction itself says. Hour and weekday (Monday is 0) are UTC."""
    hour = transactions.time_us // HOUR_US % 24
    # The Unix epoch was a Thursday.
    weekday = (transactions.time_us // DAY_US + 3) % 7
    return np.stack([transactions.amount, hour, weekday, hour <= 6, weekday >= 5], axis=1).astype(np.float64)


def inputs(transactions: Transactions) -> npt.NDArray[np.float32]:
    """[N, INPUTS]: what a scorer would be given before each transaction; NaN where there is no row."""
    parts = [request_inputs(transactions), customer_rows(transactions), terminal_rows(transactions)]
    return np.concatenate(parts, axis=1).astype(np.float32)


def typical(rows: npt.NDArray[np.float32]) -> dict[str, float]:
    """The default of every stored feature, from training rows.

    A new entity has done nothing (counts are 0, and no other row says so), is not known for fraud
    (risks are 0), and spends like everybody (means and deviation are the rows' medians).
    """
    median = np.nanmedian(rows, axis=0)
    return {
        name: round(float(median[place]), 2) if name.split(":")[1].startswith(("mean_", "std_")) else 0.0
        for place, name in enumerate(INPUTS)
        if place >= len(REQUEST_INPUTS)
    }


def fill(rows: npt.NDArray[np.float32], defaults: Mapping[str, float]) -> npt.NDArray[np.float32]:
    """The rows with defaults in place of NaN."""
    stand_in = np.array([defaults.get(name, np.nan) for name in INPUTS], np.float32)
    return np.where(np.isnan(rows), stand_in, rows)


def forget(
    rows: npt.NDArray[np.float32], share: float, random: np.random.Generator
) -> npt.NDArray[np.float32]:
    """The rows with the customer's, and independently the terminal's, lost for a share of them.

    A scorer answers on defaults while the store is away, so the model has to have met them.
    """
    rows = rows.copy()
    for view in (_CUSTOMER, _TERMINAL):
        rows[random.random(len(rows)) < share, view] = np.nan
    return rows


def derive(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """[N, INPUTS + DERIVED]: what the trees split on. `export` writes the same arithmetic into the graph."""
    amount, mean, deviation = rows[:, AMOUNT], rows[:, MEAN], rows[:, DEVIATION]
    one = np.float32(1.0)
    ratio = amount / (mean + one)
    deviations = (amount - mean) / (deviation + one)
    return np.concatenate([rows, ratio[:, None], deviations[:, None]], axis=1)
