"""The frame of every HTML page: one self-contained file, whose reader's browser asks for nothing outside it.

A page is a jinja2 template with its style and its script as files beside the module that fills it. Templates escape
whatever they print. `Markup` alone is printed as it is, and it is made here alone: of what a template made, of a style
or script of our own, and of JSON that may stand within a `script` element.
"""

import base64
import json
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

FOLDER = Path(__file__).parent


def page(module: str, template: str, title: str, script: str = "", data: Any = None, **values: Any) -> str:
    """A whole page.

    Args:
        module: `__file__` of the module that the template lies beside.
        template: name of a template that extends `frame.html`.
        title: plain text; the page's first heading too.
        script: name of a file beside the template, which runs at the page's end; without it the page allows none.
        data: what the script reads, as JSON, from the element with the id `data`.
        values: what the template prints: plain data.
    """
    source = Markup(f"\n{text(Path(module).parent, script).strip()}\n") if script else ""
    frame = {
        "title": title,
        "script": source,
        "script_hash": base64.b64encode(sha256(source.encode()).digest()).decode(),
        "data": script_data(data),
    }
    return environment(Path(module).parent).get_template(template).render(**frame, **values)


def fragment(module: str, template: str, **values: Any) -> Markup:
    """A part of a page, to be printed by a template of it; arguments as for `page`."""
    return Markup(environment(Path(module).parent).get_template(template).render(**values))


def style(module: str, name: str) -> Markup:
    """A style that lies beside a module, to be printed by a template of another."""
    return text(Path(module).parent, name)


@cache
def environment(folder: Path) -> Environment:
    """Of the templates in a folder, which may extend and include those beside them and those of the frame.

    Templates print a style by `text("page.css")`.
    """
    made = Environment(
        loader=FileSystemLoader([folder, FOLDER]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.globals["text"] = partial(text, folder)
    return made


def text(folder: Path, name: str) -> Markup:
    """A style or script of our own, from a template's folder or the frame's."""
    found = next(path for path in (folder / name, FOLDER / name) if path.is_file())
    return Markup(found.read_text(encoding="utf-8").strip())


def script_data(data: Any) -> Markup:
    """JSON that may stand within a `script` element: no text in it ends the element."""
    words = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(words.replace("<", "\\u003c"))
