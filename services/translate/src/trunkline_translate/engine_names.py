"""What models of other servers are called here."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

_PLAIN: Final = "!$&'()*+,;=:@"
"""What a segment of a path may hold besides letters, digits and `-._~`: RFC 3986, section 3.3."""


def model_version(engine: str, *parts: str) -> str:
    """The resource name `engines/{engine}/{part}/...`.

    It is in trailers too, which take ASCII alone: other characters are escaped as in a URL. A slash of a part is `--`.

    Args:
        engine: the engine's name.
        parts: what its model is called there, and the version, as far as they are known.
    """
    escaped = (quote(part.strip("/").replace("/", "--"), safe=_PLAIN, errors="replace") for part in parts)
    return "/".join(("engines", engine, *escaped))
