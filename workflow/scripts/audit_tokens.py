"""Check what was found in the questions of all benchmarks, as one base model reads them, before any GPU hour.

    python workflow/scripts/audit_tokens.py --manifests results/tokens/prompt=.../benchmark=*/model=gemma2-2b/*.json \\
        --output results/audits/gemma2-2b.json

Prints each language's findings. Those above their tolerated share of a language's questions are refused.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from calgrid import cli, flags
from calgrid.errors import UserError
from calgrid.models.architectures import ARCHITECTURES
from calgrid.scoring.settings import Audit
from calgrid.store import files

log = logging.getLogger("audit")

NAMED = 3  # question ids that a message names

# What each finding is, and the remedy.
REMEDIES = {
    "bos": ("hold the tokenizer's BOS token as text, in the question or its examples", "remove it from the data"),
    "too_long": ("do not fit the model's context", "shorten scoring.prompt or lower scoring.shots"),
    "no_token": ("have a candidate without a token of its own after the prompt", "change scoring.candidate"),
    "same_text": ("have two options with the same text", "mend the data"),
    "boundary": (
        "have a token across the boundary of prompt and candidate",
        "begin scoring.candidate with a space, or end scoring.prompt otherwise",
    ),
}


def problems(audit: Mapping[str, Any], limits: Audit, where: str) -> Iterator[str]:
    """A line for each finding of a language above its share; `audit` is `calgrid.scoring.prompts.audit`'s record."""
    n = audit["questions"]
    for name, (what, remedy) in REMEDIES.items():
        count, limit = audit[name]["questions"], getattr(limits, name)
        if count > limit * n:
            ids = audit[name]["first"][:NAMED]
            size = f" of {audit['context']} tokens (the longest has {audit['longest']})" if name == "too_long" else ""
            yield (
                f"{where}: {count} of {n} questions {what}{size}: {', '.join(ids)}{', ...' if count > NAMED else ''}; "
                f"more than audit.{name} {limit:g} allows; {remedy}, or raise audit.{name}"
            )
    if audit["left_out"] == n:
        yield f"{where}: no question can be scored; take the language out of the benchmark"


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--manifests", required=True, nargs="+", help="of the tokenised shards of one model")
    flags.add_attention(parser)
    parser.add_argument("--output", required=True, help="JSON file to write: the findings by benchmark and language")
    cli.add_settings(parser, Audit)
    arguments = parser.parse_args(argv)
    limits = cli.read_settings(arguments, Audit)

    found: dict[str, dict[str, Any]] = {}
    wrong = []
    for path in arguments.manifests:
        manifest = files.read_record(path, "benchmark", "model", "audit")
        benchmark, architecture = manifest["benchmark"], manifest["model"]["model_type"]
        if arguments.score_attention == "sdpa" and ARCHITECTURES[architecture].caps_attention:
            wrong.append(
                f"device.score_attention: sdpa: {architecture} caps its attention scores, which sdpa can't; "
                "write auto, eager or flex_attention"
            )
        for language, audit in manifest["audit"].items():
            log.info(
                "%s, %s: %d questions, %d left out; %s",
                benchmark,
                language,
                audit["questions"],
                audit["left_out"],
                ", ".join(f"{name} {audit[name]['questions']}" for name in REMEDIES),
            )
            wrong += problems(audit, limits, f"benchmark {benchmark!r}, language {language!r}")
            found.setdefault(benchmark, {})[language] = audit
    if wrong:
        raise UserError(
            "\n".join(dict.fromkeys(wrong)) + f"\nThe questions' ids are in {', '.join(arguments.manifests)}"
        )
    files.write_json(arguments.output, found)


if __name__ == "__main__":
    cli.run(main)
