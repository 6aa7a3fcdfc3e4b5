"""How a model that lies elsewhere is named.

```
hf:owner/name[@revision][:file or folder]     a repository of the Hugging Face hub, or one file or folder of it
https://host/path/file[#sha256=...]           a file; without a hash the first download's is kept and checked
pymss:NAME, bs-roformer:NAME                  models of other packages' catalogues, see published/catalogues.py
```
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from unbraid.errors import ConfigError

_HUB = re.compile(r"hf:(?://)?(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^:\s]+))?(?::(?P<path>\S.*))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"sha256=([0-9a-fA-F]{64})")


@dataclass(frozen=True, kw_only=True)
class HubReference:
    """A repository of the hub, or a part of it."""

    repository: str
    """owner/name"""

    revision: str | None = None
    """Branch, tag or commit; None: the default branch as it was at the first use on this machine."""

    path: str | None = None
    """A file or folder of the repository; None: whatever model it holds."""

    def __str__(self) -> str:
        return f"hf:{self.key}" + (f":{self.path}" if self.path else "")

    @property
    def key(self) -> str:
        return self.repository + (f"@{self.revision}" if self.revision else "")

    @property
    def commit(self) -> str | None:
        """The revision where that is a commit, which never changes."""
        return self.revision if self.revision and is_commit(self.revision) else None


@dataclass(frozen=True, kw_only=True)
class WebReference:
    """A file behind an https address."""

    url: str

    sha256: str | None = None
    """Of the file's content, as 64 hexadecimal digits."""

    def __str__(self) -> str:
        return self.url + (f"#sha256={self.sha256}" if self.sha256 else "")

    @property
    def file_name(self) -> str:
        return urlsplit(self.url).path.rsplit("/", 1)[-1] or "model"


Reference = HubReference | WebReference


def is_commit(text: object) -> bool:
    """Whether it is the full name of a commit."""
    return isinstance(text, str) and _COMMIT.fullmatch(text) is not None


def is_reference(text: str) -> bool:
    """Whether a name says that the model lies elsewhere."""
    return text.startswith(("hf:", "https:", "http:"))


def parse_reference(text: str) -> Reference:
    """Raises ConfigError for what is neither of the two forms."""
    if text.startswith("hf:"):
        match = _HUB.fullmatch(text)
        if match is None:
            raise ConfigError(
                "is no hub reference", subject=f"'{text}'", remedy="write hf:owner/name, hf:owner/name@revision:folder"
            )
        path = (match["path"] or "").strip("/") or None
        if path and ".." in path.split("/"):
            raise ConfigError(f"'{text}' leads out of its repository", remedy="give a file or folder in it")
        return HubReference(repository=match["repository"], revision=match["revision"], path=path)
    url, _, fragment = text.partition("#")
    if not url.startswith("https://") and not re.match(r"http://(127\.0\.0\.1|localhost)[:/]", url):
        raise ConfigError("is not an https address: weights are fetched over https only", subject=f"'{text}'")
    digest = _SHA256.fullmatch(fragment) if fragment else None
    if fragment and digest is None:
        raise ConfigError(f"'#{fragment}' is no hash", remedy="write #sha256= and 64 hexadecimal digits")
    return WebReference(url=url, sha256=digest[1].lower() if digest else None)
