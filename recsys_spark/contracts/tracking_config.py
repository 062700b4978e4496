"""Where a pipeline's figures are told: config of `tracking`."""

from __future__ import annotations

from dataclasses import dataclass

from recsys_spark.contracts.checks import one_of, require


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """uri: null leaves it to MLflow and its environment variables. run_name: null is the id of the run."""

    kind: str = "none"
    uri: str | None = None
    experiment: str = "recsys"
    run_name: str | None = None

    def __post_init__(self) -> None:
        one_of(self.kind, ("none", "mlflow"), "tracking.kind")
        require(bool(self.experiment.strip()), "tracking.experiment", "a name", self.experiment)
