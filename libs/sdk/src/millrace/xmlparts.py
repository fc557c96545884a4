"""Reading some texts out of hostile XML: no tree, no recursion, no document type, no entities but the five of XML.

Expat is driven directly. It loads nothing from outside by itself, and a document type, which both entity expansion
and external entities need, ends the reading at once. Time and memory are proportional to the text.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NoReturn
from xml.parsers import expat

_WRAPPER: Final = "msg"
_DEEPEST: Final = 2
"""Levels below the chosen element whose texts are kept: `type`, and `refermsg/type`."""


class BrokenXmlError(ValueError):
    """Not well formed, or with a document type."""


class Parts:
    """An element by its name, and the texts below it by path; of equal paths the first counts."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._texts: dict[str, list[str]] = {}

    def text(self, path: str) -> str:
        """The text of `child` or `child/grandchild` without space around it, empty where there is none."""
        return "".join(self._texts.get(path, ())).strip()

    def has(self, path: str) -> bool:
        """Whether there is such an element."""
        return path in self._texts

    def begin(self, path: str) -> list[str] | None:
        """Where the text of a new element goes; None for one that repeats a path."""
        if path in self._texts:
            return None
        return self._texts.setdefault(path, [])


class _Reader:
    """Expat's handlers: chooses the element and collects the texts below it."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self._depth = 0
        self._wrapped = False
        self._top = 0
        self._path: list[str] = []
        self._open: list[list[str] | None] = []
        self.parts: Parts | None = None
        self._within = False

    def start(self, name: str, _: dict[str, str]) -> None:
        self._depth += 1
        if self._within and self.parts is not None:
            below = self._depth - self._top
            if below <= _DEEPEST:
                self._path.append(name)
                # A part of an element that repeats another one is no part of the first.
                shadowed = below > 1 and self._open[-1] is None
                self._open.append(None if shadowed else self.parts.begin("/".join(self._path)))
        elif self.parts is None and (self._depth == 1 or (self._depth == 2 and self._wrapped)):
            if name in self._names:
                self.parts, self._top, self._within = Parts(name), self._depth, True
            elif self._depth == 1:
                self._wrapped = name == _WRAPPER

    def end(self, _: str) -> None:
        if self._within:
            below = self._depth - self._top
            if below == 0:
                self._within = False
            elif below <= _DEEPEST:
                self._path.pop()
                self._open.pop()
        self._depth -= 1

    def data(self, text: str) -> None:
        # Text belongs to the innermost element; below the deepest level that is kept, to none.
        if self._open and self._depth - self._top == len(self._open) and (into := self._open[-1]) is not None:
            into.append(text)


def _refuse(*_: object) -> NoReturn:
    raise BrokenXmlError("a document type")


def parts_of(text: str, names: Collection[str]) -> Parts | None:
    """The root, or the first child of a root `msg`, that has one of these names, with the texts below it.

    Raises:
        BrokenXmlError: the text is not well formed as a whole, or declares a document type.
    """
    reader = _Reader(names)
    parser = expat.ParserCreate("utf-8")  # whatever an XML declaration says: the text is decoded already
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.data
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    parser.ExternalEntityRefHandler = _refuse
    try:
        parser.Parse(text.lstrip("\ufeff \t\r\n").encode(), True)
    except (expat.ExpatError, UnicodeEncodeError) as error:
        raise BrokenXmlError(str(error)) from None
    return reader.parts
