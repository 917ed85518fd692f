"""A hash of what a program computes: its own code and all that it uses of the library, without words.

A cheap stage runs again when this hash changes. So it must change with every constant and formula that the program
uses, and with nothing else. It is made of syntax trees:

- Of each module only the definitions that the program reaches count: functions, classes and constants by their names,
  from the program's own code onwards. A module's bare statements count with the module.
- Docstrings, comments and layout don't count, nor do words for people: what an exception is made of, log lines and
  what goes to standard error, texts handed to a function `_refuse...`, and the keywords of flags and fields in `WORDS`.
- A text that is the name of a file beside the module (a page's template, style or script) counts with that file's
  content but for its comments, and with the files that it names in turn.

The same code has the same hash under every version of Python that reads it.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from calgrid.store.files import content_hash

LIBRARY = Path(__file__).parents[1]
WORDS = ("description", "help", "metavar", "meaning", "too_many", "remedy")  # keyword arguments
LOG_LEVELS = ("debug", "info", "warning", "error", "exception")
BARE = ""  # the name of a module's statements that define nothing

Definition = tuple[Path, str]


class Module(NamedTuple):
    """A file, taken apart."""

    definitions: dict[str, list[ast.stmt]]  # by name; those without one under BARE
    imports: dict[str, tuple[Path, str | None]]  # local name: file, and the name in it (None: the module itself)


def program_hash(program: Path) -> str:
    """The hash of a program, as a hexadecimal number."""
    found = _reached(program)
    parts = []
    for file, name in sorted(found):
        place = file.name if file == program else file.relative_to(LIBRARY)
        parts.append(f"{place} {name}\n{_code(file, name)}")
    beside = sorted({path for file, name in found for path in _files_beside(file, name)})
    return content_hash(*parts, *map(_uncommented, beside))


def _reached(program: Path) -> set[Definition]:
    """The definitions that a program uses, its own all included."""
    pending: list[Definition] = [(program, name) for name in _module(program).definitions]
    found: set[Definition] = set()
    while pending:
        definition = pending.pop()
        if definition not in found:
            found.add(definition)
            pending += _used(*definition)
    return found


@cache  # each start of Snakemake asks for twenty programs, which share most of their modules
def _used(file: Path, name: str) -> frozenset[Definition]:
    """What one definition uses itself."""
    module = _module(file)
    found: set[Definition] = {(file, BARE)}
    for statement in module.definitions.get(name, ()):
        attributes: set[ast.expr] = set()
        for node in ast.walk(statement):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                imported, inside = module.imports.get(node.value.id, (None, None))
                if imported and inside is None:
                    found.add((imported, node.attr))
                    attributes.add(node.value)
        for node in ast.walk(statement):
            if not isinstance(node, ast.Name) or not isinstance(node.ctx, ast.Load) or node in attributes:
                continue
            if node.id in module.definitions:
                found.add((file, node.id))
            elif node.id == "globals":  # a table of what the module defines
                found |= {(file, each) for each in module.definitions}
            elif node.id in module.imports:
                imported, inside = module.imports[node.id]
                # A module by its bare name: all of it.
                names = [inside] if inside else list(_module(imported).definitions)
                found |= {(imported, each) for each in names}
    return frozenset(_defined(*definition) for definition in found)


def _defined(file: Path, name: str) -> Definition:
    """Where a name is defined that a module may have imported itself."""
    module = _module(file)
    if name not in module.definitions and name in module.imports:
        imported, inside = module.imports[name]
        return _defined(imported, inside or BARE)
    return file, name


@cache
def _module(file: Path) -> Module:
    definitions: dict[str, list[ast.stmt]] = {BARE: []}
    tree = _Wordless().visit(ast.parse(file.read_bytes()))
    for statement in tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            continue
        for name in _names(statement) or [BARE]:
            definitions.setdefault(name, []).append(statement)
    return Module(definitions, dict(_imports(tree)))


@cache
def _code(file: Path, name: str) -> str:
    return "\n".join(map(written, _module(file).definitions.get(name, ())))


def written(node: object) -> str:
    """A syntax tree as text. `ast.dump` differs between versions of Python, in what it says of empty fields."""
    if isinstance(node, ast.AST):
        fields = [(name, value) for name, value in ast.iter_fields(node) if value is not None and value != []]
        return f"{type(node).__name__}({', '.join(f'{name}={written(value)}' for name, value in fields)})"
    if isinstance(node, list):
        return f"[{', '.join(map(written, node))}]"
    return repr(node)


def _names(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    if isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]


def _imports(tree: ast.Module) -> Iterator[tuple[str, tuple[Path, str | None]]]:
    """What a file imports of the library, anywhere in it."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or (node.module or "").partition(".")[0] != LIBRARY.name:
            continue
        place = LIBRARY.joinpath(*(node.module or "").split(".")[1:])
        for alias in node.names:
            local = alias.asname or alias.name
            module = place / f"{alias.name}.py"
            file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
            yield local, (module, None) if module.is_file() else (file, alias.name)


class _Wordless(ast.NodeTransformer):
    """Takes words for people out of a syntax tree."""

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if isinstance(node.exc, ast.Call):
            node.exc.args, node.exc.keywords = [], []
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        node.keywords = [keyword for keyword in node.keywords if keyword.arg not in WORDS]
        if called.endswith("Error") or (called == "print" and "stderr" in ast.dump(node)):
            node.args, node.keywords = [], []
        elif called.startswith("_refuse"):
            node.args = [
                value for value in node.args if not isinstance(value, ast.Constant | ast.JoinedStr | ast.IfExp)
            ]
        return self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if _is_word(node) else self.generic_visit(node)


def _is_word(statement: ast.Expr) -> bool:
    """A docstring, or a line for the log."""
    value = statement.value
    if isinstance(value, ast.Constant):
        return isinstance(value.value, str)
    called = value.func if isinstance(value, ast.Call) else None
    return (
        isinstance(called, ast.Attribute)
        and called.attr in LOG_LEVELS
        and isinstance(called.value, ast.Name)
        and called.value.id == "log"
    )


@cache
def _files_beside(file: Path, name: str) -> frozenset[Path]:
    """Files in the library that a definition names by a text, and those that these name."""
    texts = [
        node.value
        for statement in _module(file).definitions.get(name, ())
        for node in ast.walk(statement)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    found: set[Path] = set()
    pending = [file.parent / text for text in texts if _is_file_name(text)]
    while pending:
        path = pending.pop()
        if path in found or not path.is_file():
            continue
        found.add(path)
        named = re.findall(r"""["']([\w./-]+\.(?:html|css|js))["']""", path.read_text(encoding="utf-8"))
        pending += [folder / text for text in named for folder in (path.parent, LIBRARY / "pages")]
    return frozenset(found)


def _uncommented(file: Path) -> str:
    """A template, style or script without its comments, which stand on lines of their own or in their own marks."""
    text = re.sub(r"/\*.*?\*/|\{#.*?#\}", "", file.read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.sub(r"(^|\s)//.*$", "", text, flags=re.MULTILINE) if file.suffix == ".js" else text


def _is_file_name(text: str) -> bool:
    return re.fullmatch(r"[\w-]+\.(html|css|js)", text) is not None
