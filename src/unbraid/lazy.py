"""Modules that are imported when they are used: what starts need not have them, and starts sooner."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

from unbraid.errors import MissingPackageError


class LazyModule(ModuleType):
    """Stands for a module until somebody asks it for anything."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__version__":
            raise AttributeError(name)
        try:
            module = import_module(self.__name__)
        except ModuleNotFoundError as error:
            raise MissingPackageError(self.__name__) from error
        return getattr(module, name)
