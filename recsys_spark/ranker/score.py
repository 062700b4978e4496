"""Scores candidates with a trained ranker, without what trained it: one file and PyTorch's functions, or LightGBM.

The forward pass is that of `training/ranker/model.py` in evaluation mode, in double precision, so that a query's
scores do not depend on what is scored beside it. Names: N candidates, F features, Q queries, K knots.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow  # noqa: F401  as everywhere, before torch
import torch
import torch.nn.functional as nnf
from torch import Tensor

from recsys_spark.arrays import bounds_of_groups
from recsys_spark.candidates.tower_files import FittedFile
from recsys_spark.contracts.archives import require_archive
from recsys_spark.contracts.errors import ArtifactError, ConfigError, DataError, SchemaError
from recsys_spark.contracts.ranker_file import EPSILON, FORMAT, HEADS, LIMIT

_RANKERS_KEPT = 4  # of one Python process
_ROWS_AT_ONCE = 2048  # about, in whole queries: what lies between the layers then stays in a core's cache

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Ranker(ABC):
    """features: names of the columns that it scores, in order."""

    features: tuple[str, ...]

    def scores(self, features_NF: npt.NDArray[np.float32], query_N: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Scores by head, (N, 2), larger for what should come first; they compare within a query and a head alone.

        query_N: the number of each row's query, ascending; all candidates of a query must be there. Raises SchemaError
        for another number of features, or for queries that do not ascend, DataError for NaN (of the MLP).
        """
        if features_NF.ndim != 2 or features_NF.shape[1] != len(self.features):
            raise SchemaError(f"the ranker scores {len(self.features)} features, got an array {features_NF.shape}")
        if len(query_N) != len(features_NF) or (np.diff(query_N) < 0).any():
            raise SchemaError(f"{len(features_NF)} candidates need as many queries, ascending; got {len(query_N)}")
        if not len(query_N):
            return np.empty((0, len(HEADS)))
        return self._scores(features_NF, query_N)

    @abstractmethod
    def _scores(self, features_NF: npt.NDArray[np.float32], query_N: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Scores of at least one candidate."""


@functools.lru_cache(maxsize=_RANKERS_KEPT)
def load_ranker(path: str, content: str) -> Ranker:
    """The ranker of a published file, once per Python process. content: the digest of its bytes.

    Raises ArtifactError for a file that is no ranker or of another format, ConfigError where LightGBM is missing.
    """
    local = FittedFile(path, content).local()
    try:
        told: dict[str, Any] = torch.load(require_archive(local), map_location="cpu", weights_only=True, mmap=True)
        kind, features = told["kind"], tuple(told["features"])
    except Exception as error:  # of a damaged file: whatever zip, pickle and torch make of it
        said = (str(error).strip().splitlines() or [""])[0]
        raise ArtifactError(f"{path} is no ranker ({type(error).__name__}: {said}); train it again") from error
    if told["format"] != FORMAT or kind not in ("mlp", "gbdt"):
        raise ArtifactError(f"{path} is a ranker '{kind}' of format {told['format']}; train it again")
    if kind == "gbdt":
        return GbdtRanker(features, tuple(_booster(told["boosters"][head], path) for head in HEADS))
    members = tuple(_in_double(member) for member in told["members"])
    return MlpRanker(features, tuple(told["kinds"]), told["within_query"], members)


@dataclass(frozen=True)
class MlpRanker(Ranker):
    """The mean over members, each the state of a `RankerMLP` in double precision."""

    kinds: tuple[str, ...]
    within_query: bool
    members: tuple[State, ...]

    def _scores(self, features_NF: npt.NDArray[np.float32], query_N: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        bounds = bounds_of_groups(query_N)
        query_N = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
        first_Q = bounds[:-1]
        cuts = first_Q[np.diff(first_Q // _ROWS_AT_ONCE, prepend=0) != 0]
        with _on_one_thread(), torch.inference_mode():
            parts = zip(np.split(features_NF, cuts), np.split(query_N, cuts), strict=True)
            found = np.concatenate([self._of_queries(*part) for part in parts])
        if np.isnan(found).any():
            odd = [name for name, values in zip(self.features, features_NF.T, strict=True) if np.isnan(values).any()]
            raise DataError(f"features {odd} hold NaN; fill them in the stage 'features'")
        return found

    def _of_queries(
        self, features_NF: npt.NDArray[np.float32], query_N: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        """The scores of some queries, whose numbers are consecutive."""
        features, query = torch.from_numpy(features_NF.astype(np.float64)), torch.from_numpy(query_N - query_N[0])
        scored = [self._of_member(member, features, query) for member in self.members]
        found: npt.NDArray[np.float64] = torch.stack(scored).mean(dim=0).numpy()
        return found

    def _of_member(self, state: State, features_NF: Tensor, query_N: Tensor) -> Tensor:
        inputs_NI = _transformed(state, self.kinds, features_NF)
        if self.within_query:
            inputs_NI = torch.cat([inputs_NI, _z_scores(inputs_NI, query_N)], dim=1)
        x_NH = _normalised(state, "first.3", _layer(state, "first.0", inputs_NI))
        x_NH += _normalised(state, "second.3", _layer(state, "second.0", x_NH))
        return nnf.linear(_layer(state, "last.0", x_NH), state["heads.weight"], state["heads.bias"])


@dataclass(frozen=True)
class GbdtRanker(Ranker):
    """A LightGBM booster for each head."""

    boosters: tuple[Any, ...]

    def _scores(self, features_NF: npt.NDArray[np.float32], _: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        found = [booster.predict(features_NF, raw_score=True, num_threads=1) for booster in self.boosters]
        return np.stack(found, axis=1).astype(np.float64)


def _booster(text: str, path: str) -> Any:
    try:
        import lightgbm
    except (ImportError, OSError) as error:  # the second where the machine lacks libgomp
        told = f"the ranker is LightGBM's, which cannot be imported ({error}): install the extra gbdt"
        raise ConfigError(told) from None
    try:
        return lightgbm.Booster(model_str=text)
    except lightgbm.basic.LightGBMError as error:
        raise ArtifactError(f"{path} holds no model of LightGBM ({error}); train it again") from error


def _in_double(state: State) -> dict[str, Tensor]:
    return {name: values.double() for name, values in state.items()}


def _transformed(state: State, kinds: tuple[str, ...], features_NF: Tensor) -> Tensor:
    """As `FeatureTransform`."""
    prefix = "transform."
    by_log, by_quantile = ([place for place, kind in enumerate(kinds) if kind == name] for name in ("log", "quantile"))
    shaped = features_NF.clone()
    values = features_NF[:, by_log]
    shaped[:, by_log] = values.abs().log1p_().copysign_(values)
    if by_quantile:
        shaped[:, by_quantile] = _between_knots(features_NF[:, by_quantile], state[prefix + "knots"])
    return shaped.sub_(state[prefix + "mean"]).div_(state[prefix + "deviation"]).clamp_(-LIMIT, LIMIT)


def _between_knots(values_NF: Tensor, knots_FK: Tensor) -> Tensor:
    last = knots_FK.shape[1] - 1
    values_FN = values_NF.T.contiguous()
    above = torch.searchsorted(knots_FK, values_FN).clamp_max(last)
    below = (torch.searchsorted(knots_FK, values_FN, right=True) - 1).clamp_min(0)
    low, high = knots_FK.gather(1, below), knots_FK.gather(1, above)
    place = torch.where(above > below, below + (values_FN - low) / (high - low), (above + below) / 2)
    return (place * (2 / last) - 1).T


def _z_scores(values_NF: Tensor, query_N: Tensor) -> Tensor:
    """(x - mean) / (standard deviation + epsilon) within each query."""

    def means(values: Tensor) -> Tensor:
        sums = values.new_zeros(len(count), values.shape[1]).index_add_(0, query_N, values)
        return sums.div_(count[:, None])[query_N]

    count = torch.bincount(query_N)
    centred = values_NF - means(values_NF)
    return centred.div_(means(centred.square()).sqrt_().add_(EPSILON))


def _layer(state: State, name: str, x: Tensor) -> Tensor:
    return nnf.linear(x, state[f"{name}.weight"], state[f"{name}.bias"]).relu_()


def _normalised(state: State, name: str, x: Tensor) -> Tensor:
    return nnf.layer_norm(x, x.shape[1:], state[f"{name}.weight"], state[f"{name}.bias"])


@contextmanager
def _on_one_thread() -> Iterator[None]:
    """Tasks run beside one another, a core each."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
