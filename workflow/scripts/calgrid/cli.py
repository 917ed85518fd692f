"""What the command-line programs share: flags made from a settings model, and errors without a traceback."""

import argparse
import logging
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from calgrid.errors import UserError

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


def run(main: Callable[[Sequence[str] | None], Any]) -> None:
    """Run a program's `main`: log its command and progress to standard error, print a UserError and exit by it."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    log.info("python %s", shlex.join(sys.argv))
    try:
        main(None)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
