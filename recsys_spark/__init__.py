"""Everything that runs in Spark, and what the trainers share with it."""

import os

# Threads of OpenMP, which torch, FAISS and LightGBM compute with, otherwise spin while they wait for one another: where
# a reader or another program wants the cores, training then takes up to nine times as long. It is read when the first
# of these libraries is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
