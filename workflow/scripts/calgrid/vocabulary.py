"""The words that the configuration, the files and the tables share. Constants alone."""

from typing import Literal, get_args

Correction = Literal["none", "holm"]
TTest = Literal["paired", "independent", "welch"]
Attention = Literal["auto", "eager", "sdpa", "flex_attention"]
T_TESTS: tuple[str, ...] = get_args(TTest)
CORRECTIONS: tuple[str, ...] = get_args(Correction)
BASE = "base"  # the `sft` of a model that was not tuned
NO_SMOOTHING = "0.0"  # the smoothing that smoothed arms are compared with
NONE = "none"  # its smoothing, learning rate and seed
ALL = "all"  # as a language: every language of a benchmark; their questions pooled, in metrics
CONTENT_FREE = "+content_free"  # ends the name of a benchmark's content-free prompts; no name in here has a "+"
VALIDATION_LOSS = "validation_loss"
CLDR_CORPUS = "cldr"  # the embedded pretraining corpus

# Groupings of questions in metrics, tests and intervals.
POOLED = "pooled"  # groupings
LANGUAGE = "language"
MEAN = "mean_over_languages"  # an aggregation of their values, beside the groupings above
TIER = "tier"
CATEGORY = "category"
CATEGORY_BY_LANGUAGE = "category_by_language"

# Defaults: of the configuration's keys, and of the flags of programs that are called by hand.
VALIDATION_SHARE = 0.02
MAX_REJECTED_SHARE = 0.01
SFT_SPLIT = "train"
BENCHMARK_SPLIT = "test"
TRAIN_TOKENS = 8192
SCORE_TOKENS = 16384
ATTENTION: Attention = "auto"
ACTIVATION_CHECKPOINTING = True
CHECKPOINT_MINUTES = 30.0
CONFIDENCE_METHOD = "perplexity"
N_BINS = 30  # of the calibration file whose variant of RMS fits the paper's tables (hendrycks/test, calib_tools.py)
FIGURE_BINS = 10  # of reliability diagrams
T_TEST: TTest = "paired"
RESAMPLES = 1000
ALPHA = 0.05
CORRECTION: Correction = "none"
POSTHOC_METHODS = ("choice",)
POSTHOC_SHARE = 0.5
TRANSFER_LANGUAGE = "en"
