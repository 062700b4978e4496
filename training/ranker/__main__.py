"""Train the ranker without Spark: `torchrun --nproc_per_node 4 -m training.ranker JOB.json`.

JOB.json holds the fields of RankerJob; the stage `train_ranker` leaves `ranker_job.json` beside the file that it
trains. What is trained from it goes to a folder below the one it is run in.
"""

from __future__ import annotations

from training.jobs import train_from_file
from training.ranker.train import RankerJob, train_ranker

if __name__ == "__main__":
    train_from_file("training.ranker", __doc__, lambda text: train_ranker(RankerJob.from_json(text)))
