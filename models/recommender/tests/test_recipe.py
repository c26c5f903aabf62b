import gzip
import json
from datetime import UTC, datetime

import numpy as np
import onnxruntime
import pytest
from safetensors.numpy import load

from trunkline_artifact import CARD, EVALUATION, SIGNATURE, VIEWS, verify
from trunkline_recommender import artifact, data, export, recipe, release, train
from trunkline_recommender.books import Book
from trunkline_recommender.content import WIDTH, content
from trunkline_recommender.evaluate import evaluate
from trunkline_recommender.history import ACTIVITY_VIEW, HISTORY_VIEW, Shelf, rows
from trunkline_recommender.preview import Preview
from trunkline_recommender.ratings import Ratings
from trunkline_recommender.simulator import Population, simulate
from trunkline_recommender.split import split
from trunkline_recommender.towers import Parameters

TINY = Population(readers=300, books=500, new_books=30, days=240, ratings_a_reader=60.0)
SHORT = train.Recipe(
    seed=1,
    grid=(Parameters(dimension=16, ridge=10.0), Parameters(dimension=8, ridge=10.0)),
    data_grid=(Parameters(dimension=8, ridge=10.0),),
    length=24,
    data_length=40,
    rounds=10,
    strangers=60,
)
NOW = datetime(2026, 3, 11, 15, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("artifact")
    return out, train.build(out, TINY, SHORT)


@pytest.fixture(scope="module")
def world():
    return simulate(TINY, 1)


@pytest.fixture(scope="module")
def ratings(world):
    return train.parts(world, TINY.readers)[0]


def fit(ratings):
    return recipe.train(ratings, 1, SHORT.length, SHORT.grid[:1], SHORT.rounds)


@pytest.fixture(scope="module")
def trained(ratings):
    return fit(ratings)


class Served:
    """An artefact, used as its contract says, with nothing of the recipe."""

    def __init__(self, place):
        self.signature = json.loads((place / SIGNATURE).read_text())
        self.items = json.loads((place / artifact.ITEMS).read_text())
        self.tensors = load((place / artifact.TENSORS).read_bytes())
        self.views = {view["name"]: view for view in json.loads((place / VIEWS).read_text())["views"]}
        self.user, self.item, self.ranker = (
            onnxruntime.InferenceSession((place / name).read_bytes(), providers=["CPUExecutionProvider"])
            for name in (artifact.USER_TOWER, artifact.ITEM_TOWER, artifact.RANKER)
        )
        self.row = {item["id"]: place for place, item in enumerate(self.items["items"])}
        self.shelf = Shelf.of(self.items["items"])
        self.length = self.signature["history"]["length"]

    def reader(self, log):
        """[1, D] and [1, F] of a log, by way of the rows that the store would hold."""
        history, activity = rows("r", log, self.shelf, self.length)
        ids, stars = history.values
        places = np.zeros((1, self.length), np.int64)
        for column, name in enumerate(ids.split()):
            places[0, column] = self.row.get(name, -1) + 1
        known = dict(zip(activity.fields, activity.values, strict=True))
        values = [known[name.split(":")[1]] for name in self.signature["features"]]
        defaults = [self.signature["defaults"][name] for name in self.signature["features"]]
        features = np.where(np.isnan(values), defaults, values)[None].astype(np.float32)
        given = np.where(places > 0, np.array([stars], np.float32), np.float32(0))
        (embedding,) = self.user.run(
            ["embedding"], {"history": places, "ratings": given, "features": features}
        )
        return embedding, features

    def rank(self, embedding, features, items, scores):
        (score,) = self.ranker.run(
            ["score"], {"user": features, "user_embedding": embedding, "items": items, "scores": scores}
        )
        return score


def test_a_short_training_beats_popularity_and_chance(built):
    _, evaluation = built
    test = evaluation["simulator"]["test"]
    assert test["chance"]["ndcg"] < test["popularity"]["ndcg"]
    assert test["two_tower"]["ndcg"] > 1.25 * test["popularity"]["ndcg"]
    assert test["two_tower_ranker"]["ndcg"] > 1.25 * test["popularity"]["ndcg"]
    assert test["two_tower"]["recall"] == test["two_tower_ranker"]["recall"] > test["popularity"]["recall"]
    strangers = evaluation["simulator"]["strangers"]
    assert strangers["two_tower"]["ndcg"] > strangers["popularity"]["ndcg"]


def test_the_item_tower_puts_new_books_near_their_readers(built):
    found = built[1]["simulator"]["findability"]
    assert found["books"] == TINY.new_books
    assert found["auc"] > 0.6
    assert found["recall"] > found["recall_of_chance"]


def test_the_same_seed_gives_the_same_files(built, tmp_path):
    train.build(tmp_path, TINY, SHORT)
    assert verify(tmp_path) == verify(built[0])
    assert set(verify(tmp_path)) == set(artifact.FILES)


def test_nothing_that_ships_depends_on_the_books_held_out_for_the_test(ratings, trained):
    parts = split(ratings)
    random = np.random.default_rng(5)
    book = ratings.book.copy()
    later = ~parts.known
    for reader in parts.eligible:
        of = ratings.reader == reader
        other = np.setdiff1d(np.arange(len(ratings.books)), ratings.book[of & parts.known])
        book[of & later] = random.permutation(other)[: int((of & later).sum())]
    changed = Ratings(ratings.books, ratings.reader, book, ratings.stars, ratings.time_us)
    assert (changed.book != ratings.book)[parts.test].mean() > 0.9
    again = fit(changed)
    assert release.files(again, export.graphs(again)) == release.files(trained, export.graphs(trained))
    assert again.chosen_from == trained.chosen_from


def test_the_ranker_sees_nothing_of_the_books_that_label_its_candidates(ratings, trained):
    parts = split(ratings)
    before = recipe.Known.of(ratings.where(parts.training), ratings.readers)
    model = recipe.towers.fit(before.ratings, before.activity, SHORT.length, SHORT.grid[0])
    held_out = ratings.where(parts.validation)
    other = Ratings(
        ratings.books, held_out.reader, (held_out.book + 1) % len(ratings.books), held_out.stars, None
    )
    arguments = (parts.eligible, SHORT.length, trained.columns, 1)
    seen, liked = recipe._examples(model, before, held_out, *arguments)
    same, otherwise = recipe._examples(model, before, other, *arguments)
    assert np.array_equal(seen, same, equal_nan=True)
    assert not np.array_equal(liked, otherwise)
    shown = np.zeros((ratings.readers, len(ratings.books)), np.bool_)
    shown[before.ratings.reader, before.ratings.book] = True
    assert not shown[held_out.reader, held_out.book].any()


def test_towers_do_not_depend_on_the_dimension_they_are_cut_to(ratings, trained):
    known = trained.known
    narrow = recipe.towers.fit(
        known.ratings, known.activity, SHORT.length, Parameters(dimension=6, ridge=10.0)
    )
    full = recipe.scorer(trained.towers, known, SHORT.length)(np.arange(20))
    part = recipe.scorer(narrow, known, SHORT.length)(np.arange(20))
    assert np.corrcoef(full.ravel(), part.ravel())[0, 1] > 0.8


def test_uncut_towers_predict_what_ease_predicts():
    random = np.random.default_rng(3)
    reader, book = np.nonzero(random.random((60, 25)) < 0.4)
    books = [Book(f"b{place}", f"t{place}") for place in range(25)]
    ratings = Ratings(books, reader, book, random.integers(1, 6, len(reader)), None)
    parameters = Parameters(dimension=25, ridge=2.0, feature_weight=0.0, content_weight=0.0, tail_weight=0.3)
    model = recipe.towers.fit(ratings, np.zeros((60, 1)), 25, parameters)
    seen = np.zeros((60, 25))
    count = np.bincount(reader, minlength=60)
    seen[reader, book] = np.array(recipe.towers.STAR_WEIGHTS)[ratings.stars] / np.sqrt(count)[reader]
    inverse = np.linalg.inv(seen.T @ seen + 2.0 * np.mean(np.square(seen).sum(axis=1)) * np.eye(25))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    history, stars = recipe.histories(ratings, np.arange(60), 25)
    embeddings = model.readers(history, stars, np.zeros((60, 1), np.float32))
    assert embeddings @ model.items.T == pytest.approx(seen @ weights, abs=1e-4)


def test_files_fit_together_and_to_their_contract(built):
    served = Served(built[0])
    signature = served.signature
    count, width = served.tensors["embeddings"].shape
    assert count == len(served.items["items"]) == TINY.books
    assert width == signature["dimension"] == len(signature["popular_query"])
    assert served.tensors["features"].shape[0] == count
    assert np.isfinite(served.tensors["features"]).all()
    assert len(served.row) == count
    assert set(served.items["popular"]) <= set(served.row)
    assert signature["task"] == "recommend"
    assert signature["index"].startswith("books-")

    fields = {
        f"{view['name']}:{field['name']}": field for view in served.views.values() for field in view["fields"]
    }
    assert {view["entity_type"] for view in served.views.values()} == {signature["entity_type"]}
    assert fields[signature["history"]["items"]]["type"] == "STRING"
    assert fields[signature["history"]["ratings"]]["dimension"] == served.length
    assert list(signature["defaults"]) == signature["features"]
    assert signature["features"] == [name for name in fields if name.startswith(f"{ACTIVITY_VIEW}:")]
    assert all(fields[name]["default"] == value for name, value in signature["defaults"].items())
    assert set(served.views) == {HISTORY_VIEW, ACTIVITY_VIEW}

    shapes = {
        name: (list(port.shape), port.type) for graph in (served.user, served.item, served.ranker)
        for name, port in ((port.name, port) for port in graph.get_inputs())
    }  # fmt: skip
    assert shapes["history"] == (["N", served.length], "tensor(int64)")
    assert shapes["ratings"] == (["N", served.length], "tensor(float)")
    assert shapes["features"][0] == ["N", len(signature["features"])]
    assert shapes["content"][0] == ["N", WIDTH]
    assert shapes["user"][0] == [1, len(signature["features"])]
    assert shapes["user_embedding"][0] == [1, width]
    assert shapes["items"][0] == ["N", served.tensors["features"].shape[1]]
    assert shapes["scores"][0] == ["N"]


def test_the_popular_query_finds_popular_books(built):
    served = Served(built[0])
    near = np.argsort(-(served.tensors["embeddings"] @ np.array(served.signature["popular_query"])))
    found = {served.items["items"][place]["id"] for place in near[:50]}
    assert len(found & set(served.items["popular"][:50])) > 25


def test_an_artefact_served_by_its_contract_finds_what_its_readers_like_next(built):
    served, preview = Served(built[0]), Preview.open(built[0], NOW)
    found, by_chance = 0.0, 0.0
    for reader in preview.readers:
        embedding, features = served.reader(reader.log)
        scores = served.tensors["embeddings"] @ embedding[0]
        scores[[served.row[event.book_id] for event in reader.log]] = -np.inf
        best = np.argsort(-scores)[:100]
        probability = served.rank(embedding, features, served.tensors["features"][best], scores[best])
        assert np.all((probability >= 0) & (probability <= 1))
        top = best[np.argsort(-probability)[:40]]
        liked = [served.row[book] for book in reader.next_liked]
        found += len(set(top.tolist()) & set(liked)) / len(liked)
        by_chance += 40 / int(np.isfinite(scores).sum())
    assert found > 1.4 * by_chance


def test_a_new_book_added_to_the_index_is_found_by_those_who_will_like_it(built):
    served, preview = Served(built[0]), Preview.open(built[0], NOW)
    readers = {reader.id: served.reader(reader.log)[0][0] for reader in preview.readers}
    ahead = []
    for new in preview.new_books:
        assert new.book.id not in served.row
        (embedding,) = served.item.run(["embedding"], {"content": content([new.book])})
        scores = {reader: float(vector @ embedding[0]) for reader, vector in readers.items()}
        others = [score for reader, score in scores.items() if reader not in new.liked_by]
        ahead += [float(np.mean(scores[reader] > np.array(others))) for reader in new.liked_by]
    assert np.mean(ahead) > 0.55


def test_the_ranker_takes_books_that_nobody_knows(built):
    served, preview = Served(built[0]), Preview.open(built[0], NOW)
    embedding, features = served.reader(preview.readers[0].log)
    items = np.full((3, served.tensors["features"].shape[1]), np.nan, np.float32)
    probability = served.rank(embedding, features, items, np.array([0.1, -0.1, np.nan], np.float32))
    assert np.all((probability >= 0) & (probability <= 1))


def test_a_preview_ends_just_before_now_whenever_that_is(built):
    for now in (NOW, NOW.replace(year=2031)):
        preview = Preview.open(built[0], now)
        newest = max(event.time_us for reader in preview.readers for event in reader.log)
        assert 0 < now.timestamp() * 1e6 - newest <= 86_400_000_000
        known = set(Served(built[0]).row)
        for reader in preview.readers:
            read = {event.book_id for event in reader.log}
            assert read | set(reader.next_liked) <= known
            assert not read & set(reader.next_liked)


def test_content_is_made_of_metadata_only_and_of_unit_length(world):
    books = world.ratings.books[:50]
    features = content(books)
    assert features.shape == (50, WIDTH)
    assert np.linalg.norm(features, axis=1) == pytest.approx(np.ones(50), abs=1e-5)
    alike = [
        Book("other", "Elsewhere", book.author, book.genre, book.year, book.language, book.tags)
        for book in books
    ]
    assert np.array_equal(content(alike), features), "neither the id nor the words of a title count"
    assert not content([Book("x", "Nothing Known")]).any()


def test_a_graph_that_answers_otherwise_stops_the_build():
    with pytest.raises(ArithmeticError, match="the ranker differs"):
        export.difference(np.array([0.5], np.float32), np.array([0.6], np.float32), "the ranker")
    with pytest.raises(ArithmeticError):
        export.difference(np.array([np.nan], np.float32), np.array([0.6], np.float32), "the ranker")


def test_too_few_ratings_are_refused(ratings):
    with pytest.raises(ValueError, match="no reader liked"):
        fit(ratings.where(ratings.stars < 4))
    with pytest.raises(ValueError, match="too few for 301 dimensions"):
        recipe.train(ratings, 1, 24, (Parameters(dimension=301),))


def test_the_card_says_what_was_measured(built):
    out, evaluation = built
    text = (out / CARD).read_text()
    assert json.loads((out / EVALUATION).read_text()) == evaluation
    for part in ("test", "strangers"):
        for system in ("popularity", "two_tower", "two_tower_ranker"):
            figures = evaluation["simulator"][part][system]
            assert f"| {figures['ndcg']:.3f} ± {figures['ndcg_error']:.3f} |" in text
            assert f"| {figures['recall']:.3f} |" in text
    assert "No other data was measured" in text


def test_the_figures_are_those_of_the_towers_in_numpy_too(ratings, trained):
    figures = evaluate(
        recipe.scorer(trained.towers, trained.known, SHORT.length),
        trained.known.ratings,
        ratings.where(trained.split.test),
        trained.split.eligible,
    )
    measured = train.report.measured(trained, export.graphs(trained), ratings, 1)
    assert measured["test"]["two_tower"]["ndcg"] == pytest.approx(figures.ndcg, abs=1e-3)


def layout(place, ratings, changes=None):
    """goodbooks-10k's files."""
    place.mkdir()
    lines = ["user_id,book_id,rating"]
    lines += [
        f"{reader + 10},{book + 1},{stars}"
        for reader, book, stars in zip(ratings.reader, ratings.book, ratings.stars, strict=True)
    ]
    with gzip.open(place / "ratings.csv.gz", "wt") as file:
        file.write((changes or {}).get("ratings", "\n".join(lines)))
    header = "book_id,authors,original_publication_year,title,language_code"
    described = [
        f"{number},{book.author},{book.year:.1f},{book.title},{book.language}"
        for number, book in enumerate(ratings.books, 1)
    ]
    (place / "books.csv").write_text((changes or {}).get("books", "\n".join([header, *described])))
    return place


def test_recorded_ratings_are_read_measured_apart_and_leave_the_model_alone(built, ratings, tmp_path):
    place = layout(tmp_path / "data", ratings)
    read = data.read(place, 1)
    assert len(read) == len(ratings)
    titles = [book.title for book in ratings.books]
    names = sorted({str(reader + 10) for reader in ratings.reader.tolist()})
    assert {
        (names[reader], read.books[book].title, stars)
        for reader, book, stars in zip(read.reader, read.book, read.stars, strict=True)
    } == {
        (str(reader + 10), titles[book], stars)
        for reader, book, stars in zip(ratings.reader, ratings.book, ratings.stars, strict=True)
    }
    assert read.books[0].year == next(b for b in ratings.books if b.title == read.books[0].title).year

    out = tmp_path / "out"
    evaluation = train.build(out, TINY, SHORT, read)
    figures = evaluation["data"]["test"]
    assert figures["two_tower"]["ndcg"] > figures["popularity"]["ndcg"]
    for name in artifact.VERSION_FILES:
        assert verify(out)[name] == verify(built[0])[name]
    assert "goodbooks-10k" in (out / CARD).read_text()

    before = verify(out)
    train.build(out, TINY, SHORT)
    assert verify(out) == before, "the same recipe keeps the figures of the data"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"ratings": "user_id,book_id\n1,1"}, r"ratings.csv.gz lacks rating"),
        ({"ratings": "user_id,book_id,rating\n"}, "holds no ratings"),
        ({"ratings": "user_id,book_id,rating\n1,999,5"}, "lacks book_id 999"),
        ({"ratings": "user_id,book_id,rating\n1,1,7"}, "1 to 5"),
        ({"ratings": "user_id,book_id,rating\n1,1,5\n1,2"}, "too few columns in row 3"),
        ({"ratings": "user_id,book_id,rating\n1,1,good"}, "good"),
        ({"books": "book_id,title\n1,One"}, r"books.csv lacks authors"),
    ],
)
def test_data_that_does_not_fit_is_refused_with_what_is_wrong(ratings, tmp_path, capsys, change, what):
    place = layout(tmp_path / "data", ratings, change)
    with pytest.raises(ValueError, match=what):
        data.read(place)
    with pytest.raises(SystemExit) as stopped:
        train.main(["--data", str(place), "--out", str(tmp_path / "out")])
    assert stopped.value.code == 2
    assert not (tmp_path / "out").exists()
    assert "--data" in capsys.readouterr().err


def test_ratings_cut_short_are_refused(ratings, tmp_path):
    place = layout(tmp_path / "data", ratings)
    whole = (place / "ratings.csv.gz").read_bytes()
    (place / "ratings.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"ratings.csv.gz is damaged"):
        data.read(place)


def test_a_directory_without_data_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        data.read(tmp_path)


def test_the_help_says_how_to_bring_data(capsys):
    with pytest.raises(SystemExit) as stopped:
        train.main(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert "ratings.csv.gz" in text
    assert "--seed" in text


def test_what_ships_is_whole_small_and_better_than_popularity():
    place = artifact.directory()
    assert set(verify(place)) == set(artifact.FILES)
    assert sum((place / name).stat().st_size for name in artifact.FILES) < 3_000_000
    test = json.loads((place / EVALUATION).read_text())["simulator"]["test"]
    assert test["two_tower_ranker"]["ndcg"] > 1.5 * test["popularity"]["ndcg"]
    served, preview = Served(place), Preview.open(place, NOW)
    embedding, _ = served.reader(preview.readers[0].log)
    assert np.isfinite(embedding).all()


def test_what_ships_brings_a_new_book_before_a_reader_who_will_like_it():
    served, preview = Served(artifact.directory()), Preview.open(artifact.directory(), NOW)
    readers = {reader.id: reader for reader in preview.readers}
    features, embeddings = served.tensors["features"], served.tensors["embeddings"]
    places = []
    for new in preview.new_books:
        (embedding,) = served.item.run(["embedding"], {"content": content([new.book])})
        for reader in new.liked_by:
            user, activity = served.reader(readers[reader].log)
            scores = np.append(embeddings @ user[0], embedding[0] @ user[0]).astype(np.float32)
            scores[[served.row[event.book_id] for event in readers[reader].log]] = -np.inf
            best = np.argsort(-scores)[:100]
            known = np.vstack([features, np.full_like(features[:1], np.nan)])
            ordered = best[np.argsort(-served.rank(user, activity, known[best], scores[best]))]
            places += np.flatnonzero(ordered == len(features)).tolist()
    assert sum(place < 10 for place in places) >= 2


@pytest.mark.long
def test_retraining_what_ships_gives_the_same_files_twice(tmp_path):
    for name in ("once", "again"):
        assert train.main(["--out", str(tmp_path / name)]) == 0
    assert verify(tmp_path / "once") == verify(tmp_path / "again")
    shipped = json.loads((artifact.directory() / EVALUATION).read_text())
    retrained = json.loads((tmp_path / "once" / EVALUATION).read_text())
    # Other processors may round otherwise, so between machines only the quality is the same.
    for system, figures in shipped["simulator"]["test"].items():
        assert retrained["simulator"]["test"][system]["ndcg"] == pytest.approx(figures["ndcg"], abs=0.01)
