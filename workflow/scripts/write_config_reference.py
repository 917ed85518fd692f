"""Print the reference of every configuration key, docs/configuration.md, from the models that check the configuration.

python workflow/scripts/write_config_reference.py > docs/configuration.md
"""

from collections.abc import Sequence
from pathlib import Path

from calgrid import cli

CONFIG = Path(__file__).parents[2] / "config/config.yaml"


def main(argv: Sequence[str] | None = None) -> None:
    cli.parser(__doc__).parse_args(argv)

    import yaml

    from calgrid.config.reference import reference

    print(reference(yaml.safe_load(CONFIG.read_text(encoding="utf-8"))), end="")


if __name__ == "__main__":
    main()
