"""What the command-line programs share: flags made from a settings model, and errors without a traceback."""

import argparse
import logging
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from calgrid.errors import UserError
from calgrid.sections import CONFIDENCE_METHODS, CORRECTIONS, METRICS, NONE, TABLE_METRICS

log = logging.getLogger(__name__)

Settings = TypeVar("Settings", bound=BaseModel)


def parser(description: str | None) -> argparse.ArgumentParser:
    """An argument parser whose `--help` shows the program's docstring as it is written."""
    return argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def add_settings(to: argparse.ArgumentParser, model: type[BaseModel]) -> None:
    """Add one flag for each field of `model`, with its description and default."""
    group = to.add_argument_group(model.__name__)
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else f"default: {field.default!r}"
        group.add_argument(
            flag(name),
            dest=name,
            required=field.is_required(),
            default=argparse.SUPPRESS,
            metavar=name.upper(),
            help=f"{field.description} ({default})".replace("%", "%%"),
        )


def read_settings(arguments: argparse.Namespace, model: type[Settings]) -> Settings:
    """The settings that were given by flags, checked by `model`.

    Raises UserError naming the flag and the value.
    """
    given = {name: value for name, value in vars(arguments).items() if name in model.model_fields}
    try:
        return model.model_validate_strings(given)
    except ValidationError as error:
        raise UserError("\n".join(map(_explain, error.errors()))) from None


def _explain(error: Any) -> str:
    if not error["loc"]:  # a check over several settings names them itself
        return error["msg"].removeprefix("Value error, ")
    return f"{flag(str(error['loc'][0]))} {error['input']!r}: {error['msg']}"


def settings_flags(settings: BaseModel) -> list[str]:
    """The flags that `read_settings` turns back into `settings`; every field is spelt out."""
    flags = []
    for name, value in settings.model_dump().items():
        if value is not None:
            # "-x" by itself would be taken for a flag
            flags += [f"{flag(name)}={value}"] if str(value).startswith("-") else [flag(name), str(value)]
    return flags


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def add_arms(to: argparse.ArgumentParser) -> None:
    """Add the models, SFT sets and smoothings that a table or figure shows."""
    to.add_argument("--models", required=True, nargs="+", help="models, in this order")
    to.add_argument("--sft", required=True, nargs="+", help="SFT sets, in this order")
    to.add_argument("--smoothings", required=True, nargs="+", help="label smoothings, in this order")


def add_table_flags(to: argparse.ArgumentParser) -> None:
    """Add what the table programs share: which cells they show, and how."""
    add_arms(to)
    to.add_argument("--metrics", required=True, nargs="+", type=Path, help="metrics of all cells")
    to.add_argument("--n-bins", type=int, default=30, help="of the calibration errors (default: %(default)s)")
    add_confidence_method(to)
    add_table_looks(to)


def add_table_looks(to: argparse.ArgumentParser) -> None:
    """Add what decides how the numbers of a table are set."""
    to.add_argument("--selection", required=True, type=Path, help="which learning rates are shown")
    to.add_argument(
        "--table-metrics", nargs="+", default=TABLE_METRICS, choices=METRICS, metavar="METRIC",
        help=f"columns: of {', '.join(METRICS)} (default: {' '.join(TABLE_METRICS)})",
    )  # fmt: skip
    to.add_argument("--alpha", type=float, default=0.05, help="level of significance (default: %(default)s)")
    to.add_argument(
        "--correction", default=NONE, choices=CORRECTIONS, help="of the tests for their number (default: %(default)s)"
    )


def add_overview_flags(to: argparse.ArgumentParser) -> None:
    """Add what the figures of a whole benchmark share."""
    to.add_argument("--benchmark", required=True, help="the benchmark to show")
    add_arms(to)
    to.add_argument("--selection", required=True, type=Path, help="which learning rates were selected")
    to.add_argument("--metrics", required=True, nargs="+", type=Path, help="metrics of the cells; of more cells too")
    to.add_argument("--n-bins", type=int, default=30, help="of the calibration errors (default: %(default)s)")
    add_confidence_method(to)
    to.add_argument("--output", required=True, nargs="+", type=Path, help="figures to write: .svg, .png")


def add_tiers(to: argparse.ArgumentParser) -> None:
    to.add_argument("--tiers", nargs="*", default=[], metavar="TIER=A,B", help="languages of each resource tier")


def read_tiers(arguments: Sequence[str]) -> dict[str, list[str]]:
    """`TIER=CODE,CODE` arguments: the languages of each resource tier. Raises UserError for another form."""
    tiers = {}
    for argument in arguments:
        name, equals, codes = argument.partition("=")
        if not equals:
            raise UserError(f"--tiers {argument!r}: write TIER=CODE,CODE")
        tiers[name] = codes.split(",")
    return tiers


def add_confidence_method(to: argparse.ArgumentParser) -> None:
    to.add_argument(
        "--confidence-method",
        default="perplexity",
        choices=CONFIDENCE_METHODS,
        help="how confidence is extracted (default: %(default)s)",
    )


def run(main: Callable[[Sequence[str] | None], Any]) -> None:
    """Run a program's `main`: log its command and progress to standard error, print a UserError and exit by it."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    log.info("python %s", shlex.join(sys.argv))
    try:
        main(None)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
