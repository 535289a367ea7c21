"""The `tfds:movielens` datasets: which films users liked.

They read array_record files through TensorFlow Datasets, which needs no TensorFlow. They never
download or prepare a set.
"""

from __future__ import annotations

import importlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import scalax as sx
from scalax_recsys.sequences import OpenSequences, SequenceOptions, User, open_sequences

_LIKED = 4.0
_USER_FIELDS = ("user_gender", "bucketized_user_age", "user_occupation_label")


class _Options(SequenceOptions):
    min_rating: float = _LIKED
    data_dir: str | None = None


class MovieLens(sx.Dataset):
    """Films that each user rated with ``min_rating`` (4) or more, in order of time.

    MovieLens (Harper and Konstan 2015, doi:10.1145/2827872). A tenth of the users is held out.
    Options of ``[data]``: ``min_rating``, ``data_dir`` (the folder of TFDS's sets), ``history``,
    ``negatives`` and ``min_users``. Examples have gender, age and occupation if the set has them.
    """

    interface: ClassVar[int] = 1
    name: ClassVar[str] = "tfds:movielens"
    title: ClassVar[str] = "films that users liked, in order, from TensorFlow Datasets"

    def open(self, name: str, options: Mapping[str, Any]) -> OpenSequences:
        """Reads the ratings on first use; see `Dataset.open`."""
        importlib.import_module(
            "tensorflow_datasets.structured.movielens"
        )  # registers it with TFDS
        parsed = sx.parse_settings(_Options, options, where="data")
        builder = sx.open_tfds(name, parsed.data_dir)
        features = builder.info.features
        if "user_rating" not in features:
            raise sx.ScalaxError(
                f"no ratings in {builder.info.full_name}",
                where=f"data {name!r}",
                fix='name a set of them, such as "tfds:movielens/100k-ratings"',
            )
        fields = [field for field in _USER_FIELDS if field in features]
        key: dict[str, object] = {
            "dataset": builder.info.full_name,
            "data_dir": str(builder.data_dir),
            "bytes": builder.info.dataset_size,
            "min_rating": parsed.min_rating,
        }

        def users() -> Iterator[User]:
            liked: dict[bytes, list[tuple[int, str]]] = defaultdict(list)
            user_fields: dict[bytes, tuple[str, ...]] = {}
            ratings = builder.as_data_source(split="train")
            for index in range(len(ratings)):
                rating = ratings[index]
                user = bytes(rating["user_id"])
                user_fields[user] = tuple(str(rating[field]) for field in fields)
                if rating["user_rating"] >= parsed.min_rating:
                    film = rating["movie_id"].decode()
                    liked[user].append((int(rating["timestamp"]), film))
            for user in sorted(liked):
                yield User(user, user_fields[user], [film for _, film in sorted(liked[user])])

        return open_sequences(name, parsed, key, users)


class MovieLens100K(MovieLens):
    """The set of 100,000 ratings, with gender, age and occupation."""

    name: ClassVar[str] = "tfds:movielens/100k-ratings"


class MovieLens1M(MovieLens):
    """The set of a million ratings, with gender, age and occupation."""

    name: ClassVar[str] = "tfds:movielens/1m-ratings"


class MovieLens20M(MovieLens):
    """The set of 20 million ratings."""

    name: ClassVar[str] = "tfds:movielens/20m-ratings"


class MovieLens25M(MovieLens):
    """The set of 25 million ratings."""

    name: ClassVar[str] = "tfds:movielens/25m-ratings"
