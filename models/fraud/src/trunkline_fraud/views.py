"""The feature views the model reads, as data: what `views.json` holds."""

from collections.abc import Mapping

from trunkline_fraud.windows import CUSTOMER_FIELDS, LABEL_DELAY_DAYS, TERMINAL_FIELDS, WINDOW_DAYS

CUSTOMER_VIEW = "customer_activity"
TERMINAL_VIEW = "terminal_activity"
ENTITY_TYPES = {CUSTOMER_VIEW: "customer", TERMINAL_VIEW: "terminal"}
"""What each view is about."""
TTL_S = 60 * 86_400
"""Twice the longest window: a row older than that says nothing about the last 30 days."""


def declare(defaults: Mapping[str, float]) -> dict[str, object]:
    """Both views, given the default of every `view:field`.

    `{"views": [{"name", "entity_type", "ttl_s", "description", "owner", "source",
    "fields": [{"name", "type", "default", "description"}]}]}`; `type` is a name of
    trunkline.features.v1.FieldType without its prefix.
    """
    return {
        "views": [
            _view(
                CUSTOMER_VIEW,
                "What a customer did in the days up to its last transaction.",
                CUSTOMER_FIELDS,
                defaults,
            ),
            _view(
                TERMINAL_VIEW,
                "What happened at a terminal in the days up to its last transaction or label.",
                TERMINAL_FIELDS,
                defaults,
            ),
        ]
    }


def _view(
    name: str, description: str, names: tuple[str, ...], defaults: Mapping[str, float]
) -> dict[str, object]:
    return {
        "name": name,
        "entity_type": ENTITY_TYPES[name],
        "ttl_s": TTL_S,
        "description": description,
        "owner": "models/fraud",
        "source": "trunkline_fraud.windows",
        "fields": [
            {
                "name": field,
                "type": "FLOAT64",
                "default": defaults[f"{name}:{field}"],
                "description": _meaning(field),
            }
            for field in names
        ],
    }


def _meaning(field: str) -> str:
    what, days = field.rsplit("_", 1)
    if days not in {f"{length}d" for length in WINDOW_DAYS}:
        raise ValueError(f"{field} does not end in a window")
    span = (
        f"the {days[:-1]} days up to the row's event time"
        if days != "1d"
        else "the day up to the row's event time"
    )
    return {
        "count": f"Transactions in {span}.",
        "mean_amount": f"Mean amount of the transactions in {span}, in units of the currency.",
        "std_amount": f"Standard deviation of the amounts in {span}, in units of the currency.",
        "risk": (
            f"Share of fraud, 0 to 1, among the transactions in {span}, all of it {LABEL_DELAY_DAYS} days "
            "earlier, when labels are known; 0 without transactions."
        ),
    }[what]
