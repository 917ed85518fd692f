"""What makes a stage run again when code changes.

Expensive stages, and those whose outputs expensive ones read, have a declared version: a change of code does not by
itself run a hundred trainings again. Raise a version when the stage's results would change, with a line of why.
Cheap stages take a hash of their code (`store.program_hash`). Both are parameters of the rules, which Snakemake
compares.
"""

DEMO_VERSION = 2  # 2: a split of examples, dev; 1: first version
PREPARE_VERSION = 1  # 1: first version
CONTENT_FREE_VERSION = 1  # 1: first version
PRETRAIN_VERSION = 1  # 1: first version
PACK_VERSION = 1  # 1: first version
TRAIN_VERSION = 2  # 2: packed rows, dropout drawn by seed and step, weights written in bfloat16; 1: first version
TOKENIZE_VERSION = 1  # 1: first version
SCORE_VERSION = 2  # 2: byte counts, greedy flags, letter mass, boundary merges; 1: first version
