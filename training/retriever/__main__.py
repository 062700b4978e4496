"""Train one tower without Spark: `torchrun --nproc_per_node 4 -m training.retriever JOB.json`.

JOB.json holds the fields of RetrieverJob; the stage `train_retriever` leaves `job.json` beside the files that it
trains. What is trained from it goes to a folder below the one it is run in.
"""

from __future__ import annotations

from training.jobs import train_from_file
from training.retriever.train import RetrieverJob, train_retriever

if __name__ == "__main__":
    train_from_file("training.retriever", __doc__, lambda text: train_retriever(RetrieverJob.from_json(text)))
