"""Train the ranker without each of its parts, and hold it against the whole: what each part is worth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pyspark.sql import DataFrame

from recsys_spark.candidates.tower_files import FittedFile
from recsys_spark.command_line import main
from recsys_spark.contracts.artifacts import CANDIDATES, RANKER_ABLATIONS, RANKER_FEATS, SEQUENCES, SPLIT_OF_FIT
from recsys_spark.contracts.candidate_config import REPEAT_SOURCES, source_names
from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.errors import ConfigError
from recsys_spark.contracts.features import chosen_features
from recsys_spark.contracts.ranker_config import GBDT_MODELS
from recsys_spark.contracts.ranker_file import RANKER_FILE
from recsys_spark.evaluation.facts import judged, of_judged
from recsys_spark.file_facts import sha256_of
from recsys_spark.gpu_launch import launch
from recsys_spark.paths import on_disk
from recsys_spark.ranker.ablations import Variant, ablations_table, compared, positive_totals, variants
from recsys_spark.ranker.places import Resampled, offered_positives, ranked_positives, resampled
from recsys_spark.ranker.shard_scores import score_part_files
from recsys_spark.stage import Metrics, Stage, StageIO

ByProtocol = dict[str, Resampled]


def run(io: StageIO, config: PipelineConfig) -> Metrics:
    if not config.ranker.ranked:
        raise ConfigError("ranker.model is none, so there is no ranker to take parts from; name one")
    quotas = config.candidates.quotas
    sources = {name: quotas.of(name) for name in source_names(quotas, config.retriever.towers)}
    features = chosen_features(config.features.set, tuple(sources))
    chosen = variants(config.ablations.variants, features, sources, config.ranker)
    if any(variant.is_trained and variant.config.model in GBDT_MODELS for variant in chosen):
        from training.ranker.gbdt import import_lightgbm  # torch, which other commands need not load

        import_lightgbm()  # before hours of training
    found: dict[str, dict[str, ByProtocol]] = {split: {} for split in SPLIT_OF_FIT.values()}
    trained = {}
    for variant in chosen:
        ranker, trained[variant.name] = _train(io, config, variant) if variant.is_trained else (None, {})
        for split in found:
            found[split][variant.name] = _judge(io, config, variant, ranker, split)
    results: dict[str, Any] = {"format": 1, "trained": trained, "split": {}}
    for split, by_variant in found.items():
        positives = judged(io.read(SEQUENCES, split=split), split, config.evaluation.test_end)
        totals = _by_protocol(config, positive_totals(positives))
        results["split"][split] = compared(by_variant, totals)
    io.write_json(RANKER_ABLATIONS, results)
    print(ablations_table(results))
    return {"variants": len(chosen)}


def _train(io: StageIO, config: PipelineConfig, variant: Variant) -> tuple[FittedFile, dict[str, Any]]:
    """The ranker of a variant, from the training queries; `dev` says for how long."""
    from training.ranker.job import RankerJob  # torch, which other commands need not load
    from training.ranker.train import train_ranker

    settings = variant.config
    job = RankerJob(
        features=tuple(feature.name for feature in variant.features),
        kinds=settings.transforms(feature.kind for feature in variant.features),
        train_paths=(io.path(RANKER_FEATS, part="train"),),
        dev_paths=(io.path(RANKER_FEATS, part="dev"),),
        out_folder=io.scratch(variant.name),
        checkpoint_folder=io.checkpoint_folder(variant.name),
        seed=config.seed,
        config=replace(settings, num_seeds=config.ablations.num_seeds),
        tracking_folder=io.run_folder,
    )
    told = launch(io.spark, train_ranker, job, num_processes=settings.num_trainers, launcher=settings.launcher)
    with on_disk(job.out_folder) as folder:
        digest = sha256_of(f"{folder}/{RANKER_FILE}")
    return FittedFile(f"{job.out_folder}/{RANKER_FILE}", digest), told


def _judge(io: StageIO, config: PipelineConfig, variant: Variant, ranker: FittedFile | None, split: str) -> ByProtocol:
    def of_test(frame: DataFrame) -> DataFrame:
        return of_judged(frame, io.read(SEQUENCES, split=split), split, config.evaluation.test_end)

    if ranker is None:
        return _by_protocol(config, offered_positives(of_test(io.read(CANDIDATES, split=split)), REPEAT_SOURCES))
    scored = score_part_files(io.spark, io.path(RANKER_FEATS, part=split), ranker, variant.proposers)
    return _by_protocol(config, ranked_positives(of_test(scored)))


def _by_protocol(config: PipelineConfig, places: DataFrame) -> ByProtocol:
    found = resampled(places, config.evaluation.replicates, config.seed)
    return {protocol: each for (protocol,), each in found.items()}


STAGE = Stage(
    "ablate",
    reads=(CANDIDATES, SEQUENCES, RANKER_FEATS),
    writes=(RANKER_ABLATIONS,),
    sections=("ablations", "ranker", "candidates", "features", "retriever", "evaluation"),
    run=run,
)

if __name__ == "__main__":
    main(STAGE)
