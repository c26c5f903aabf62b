"""Items for a user: the nearest ones, ranked; or the popular ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from random import Random

import numpy as np
import structlog
from numpy.typing import NDArray

from trunkline_hop.errors import BadRequest, Fault, Overloaded, TooLate, Unavailable
from trunkline_hop.telemetry import span
from trunkline_modelstore import ModelStore
from trunkline_ranking.exploration import Placed, place
from trunkline_ranking.inference import Inference
from trunkline_ranking.items import Items
from trunkline_ranking.model import Model, of_task
from trunkline_ranking.patience import Patience
from trunkline_ranking.ranker import Ranker
from trunkline_ranking.recommender_model import RecommenderModel
from trunkline_ranking.recommender_signature import MOST_CANDIDATES
from trunkline_ranking.retrieval import Found, Retrieval, Search
from trunkline_ranking.user import Remaining, User, Users

log = structlog.get_logger("trunkline.ranking")

FEATURES_UNAVAILABLE = "features_unavailable"
RETRIEVAL_UNAVAILABLE = "retrieval_unavailable"
_RETRY_AFTER = timedelta(seconds=1)


class Source(Enum):
    """What a list was made from."""

    PERSONAL = "personal"
    POPULAR = "popular"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    model: str
    """`models/{model}` for the version in force, or a version's name."""
    user_id: str
    count: int
    """How many items at most."""
    filter: str = ""
    """AIP-160; empty: all items."""
    exclude: frozenset[str] = frozenset()
    """Items to leave out."""
    exploration_rate: float | None = None
    """Share of places given at random; None: as the server is set."""


@dataclass(frozen=True, slots=True)
class Item:
    """An item that is recommended."""

    item_id: str
    score: float | None
    """The ranker's probability; None where nothing was ranked."""
    nearness: float | None
    """What retrieval says of it; None where it was not needed."""
    propensity: float
    """Probability of this item at this place, given the places above."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """All items that may be recommended, as columns: few of them will be."""

    ids: Sequence[str]
    order: Sequence[int]
    """Places in `ids`, the best first."""
    scores: NDArray[np.float32] | None = None
    """[ids] the ranker's probability; None when nothing was ranked."""
    nearness: NDArray[np.float32] | None = None
    """[ids] what retrieval says of them; None when it was not needed."""

    def item(self, placed: Placed[int]) -> Item:
        """One of them, at the place that it was given."""
        row = placed.candidate
        return Item(
            self.ids[row],
            None if self.scores is None else float(self.scores[row]),
            None if self.nearness is None else float(self.nearness[row]),
            placed.propensity,
        )


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The answer."""

    items: Sequence[Item]
    source: Source
    index: str
    """That was searched; empty when none was."""
    snapshot: str
    sequence: int
    defaulted: tuple[str, ...]
    """Features whose value was a default or stale."""
    version: str
    """Which version of which model answered."""
    degradations: tuple[str, ...]
    """What the answer lacks."""


@dataclass(frozen=True, slots=True)
class Recommending:
    """Recommends from the models of a store, the users of another, and an index."""

    models: ModelStore[Model]
    users: Users
    retrieval: Retrieval
    inference: Inference
    patience: Patience
    """With retrieval."""
    exploration_rate: float
    """Where a request does not say."""
    random: Random
    """Where exploration's chance comes from."""

    async def recommend(self, request: Request, remaining: Remaining) -> Recommendation:
        """Recommends items.

        Args:
            request: what is asked for.
            remaining: time left for the answer.

        Raises:
            BadRequest: retrieval refuses the filter.
            Unavailable: retrieval cannot be asked, and there is a filter, which nobody else can apply.
            Fault: the model cannot be leased (see `ModelStore.lease`), is for another task, or fails.
        """
        async with self.models.lease(request.model) as lease:
            model = of_task(lease, RecommenderModel)
            user = await self.users.read(model, request.user_id, remaining)
            run = self.inference.begin(lease.version)
            ranker = Ranker(model, user, run)
            left_out = request.exclude.union(user.consumed)
            found: Found | None = None
            if user.history is not None or request.filter:
                found = await self._search(model, ranker.embedding, request, len(left_out), remaining())
            degradations: tuple[str, ...] = ()
            if user.features_unavailable:
                degradations = (FEATURES_UNAVAILABLE,)
            elif user.history is not None and found is None:
                degradations = (RETRIEVAL_UNAVAILABLE,)
            most = max(model.signature.candidates, request.count)
            candidates = _candidates(model.items, user, ranker, found, left_out, most)
            rate = self.exploration_rate if request.exploration_rate is None else request.exploration_rate
            placed = place(candidates.order, request.count, rate, self.random)
            items = [candidates.item(each) for each in placed]
            if user.history is not None:
                run.finish(item.score for item in items if item.score is not None)
            return Recommendation(
                items,
                Source.PERSONAL if user.history is not None and found is not None else Source.POPULAR,
                model.signature.index if found is not None else "",
                found.snapshot if found is not None else "",
                found.sequence if found is not None else 0,
                user.defaulted,
                lease.version,
                degradations,
            )

    async def _search(
        self,
        model: RecommenderModel,
        vector: NDArray[np.float32],
        request: Request,
        left_out: int,
        remaining_s: float | None,
    ) -> Found | None:
        """The nearest items; None when retrieval cannot be asked in time and the answer can do without."""
        index = model.signature.index
        # As many more as will be left out, so that enough stay.
        top_k = min(max(model.signature.candidates, request.count) + left_out, MOST_CANDIDATES)
        search = Search(index, vector, top_k, request.filter)
        timeout_s = self.patience.wait_s(remaining_s)
        try:
            if timeout_s > 0:
                with span("retrieval"):
                    found = await self.retrieval.search(search, timeout_s)
                if found.ids or request.filter:
                    return found
                log.error("index is empty", index=index)
        except BadRequest as fault:
            if any(violation.field == "filter" for violation in fault.violations):
                raise
            log.error("search refused", index=index, reason=fault.reason, error=fault.message)
        except (Unavailable, Overloaded, TooLate) as fault:
            log.warning("retrieval unavailable", index=index, reason=fault.reason)
        except Fault as fault:
            # An index that nobody made, say: a defect of the installation.
            log.error("search refused", index=index, reason=fault.reason, error=fault.message)
        if request.filter:
            raise Unavailable(
                "UNREACHABLE",
                "only retrieval can apply a filter, and it cannot be asked now",
                retry_after=_RETRY_AFTER,
            )
        return None


def _candidates(
    items: Items, user: User, ranker: Ranker, found: Found | None, left_out: frozenset[str], most: int
) -> Candidates:
    """All that may be recommended; of what is ranked, so many at most."""
    if found is None:
        ids = [each for each in items.popular if each not in left_out]
        if user.history is None:
            return Candidates(ids, range(len(ids)))
        nearness = ranker.nearness(ids)
    else:
        kept = [row for row, each in enumerate(found.ids) if each not in left_out]
        ids, nearness = [found.ids[row] for row in kept], found.scores[kept]
        if user.history is None:
            last = len(items.popular)
            by_popularity = sorted(range(len(ids)), key=lambda row: items.popularity.get(ids[row], last))
            return Candidates(ids, by_popularity, nearness=nearness)
    if not ids:
        return Candidates((), ())
    ids, nearness = ids[:most], nearness[:most]
    scores = ranker.score(ids, nearness)
    return Candidates(ids, np.argsort(-scores, kind="stable").tolist(), scores, nearness)
