"""Object stores: a URI as a pyarrow filesystem and a path in it, patient with the network, silent about credentials.

The filesystems are pyarrow's own, which its wheels hold for all three kinds of store. Credentials come from the
environment as each vendor's tools read them, or from the URI; what is shown, recorded and compared is `StorePath.uri`,
which has neither credentials nor options.

pyarrow is imported where it is used: a night on which nothing is new needs none of it, and 0.2 s are a third of such a
run.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from ..errors import InputError

if TYPE_CHECKING:
    from pyarrow import fs

S3_RETRIES = 10
"""Of one request: the pause doubles from 25 ms, so a store that is away for 25 seconds stops no run."""

RETRY_SECONDS = 60
"""How long Google's client tries one request again; its own limit is 15 minutes."""

REPLY_SECONDS = 30.0
"""A reply that stands still for longer is asked for again; pyarrow's 3 seconds fail on a store under load."""

_SCHEMES = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az", "abfss": "az"}
_OPTIONS = {
    "s3": {"endpoint_override", "region", "scheme", "anonymous"},
    "gs": {"endpoint_override", "scheme", "anonymous"},
    "az": {"blob_storage_authority", "blob_storage_scheme", "dfs_storage_authority", "dfs_storage_scheme"},
}
_URI = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]+)://((?P<user>[^/@]*)@)?(?P<path>.*?)(\?(?P<options>\w+=[^&]*(&\w+=[^&]*)*))?",
    re.IGNORECASE | re.DOTALL,
)
"""Keys are taken as they are, as in `aws s3 cp`; a `?` with no `name=value` behind it is a glob's."""


def store_errors() -> tuple[type[BaseException], ...]:
    """What a filesystem of pyarrow may raise; for `except`, which asks only when something is raised."""
    import pyarrow as pa

    return OSError, pa.ArrowException


def is_uri(name: object) -> bool:
    """Whether `name` is of the form `scheme://...`."""
    return isinstance(name, str) and re.match(r"[a-z][a-z0-9+.-]+://", name, re.IGNORECASE) is not None


@dataclass(frozen=True, slots=True)
class StorePath:
    """An object or a prefix. `path` is `bucket/key`, without slashes at its ends. Can be pickled, secrets included."""

    scheme: str
    path: str
    account: str = ""
    """Azure's storage account, empty when the environment names it."""
    options: tuple[tuple[str, str], ...] = ()
    secret: tuple[str, str] | None = field(default=None, repr=False)
    """Key and secret of an S3 URI."""

    @classmethod
    def parse(cls, uri: str) -> "StorePath":
        """Raises InputError, whose message holds nothing of the URI that could be secret."""
        match = _URI.fullmatch(uri)
        scheme = match["scheme"].lower() if match else ""
        if match is None or scheme not in _SCHEMES:
            raise InputError(f"{scheme}://...: nerx knows the object stores {', '.join(f'{s}://' for s in _OPTIONS)}")
        kind, path, user = _SCHEMES[scheme], match["path"].rstrip("/"), match["user"]
        options = tuple(sorted(tuple(pair.split("=", 1)) for pair in (match["options"] or "").split("&") if pair))
        for name, _ in options:
            if name not in _OPTIONS[kind]:
                known = ", ".join(sorted(_OPTIONS[kind]))
                raise InputError(f"{scheme}://...: unknown option {name!r}; those of a {kind}:// URI are {known}")
        if ":" in path.split("/")[0]:
            raise InputError(
                f"{scheme}://...: a ':' before the first '/'; credentials belong into the environment, "
                "and inside a URI every special character of theirs has to be percent-encoded"
            )
        if not path or path.startswith("/"):
            raise InputError(f"{scheme}://: names no bucket")
        if kind == "az":
            return cls._azure(path, user, options)
        if user and (kind != "s3" or ":" not in user):
            raise InputError(f"{scheme}://...: credentials before the '@' that nerx cannot use; set the environment's")
        key, _, secret = (user or "").partition(":")
        return cls(kind, path, "", options, (unquote(key), unquote(secret)) if user else None)

    @classmethod
    def _azure(cls, path: str, user: str | None, options: tuple[tuple[str, str], ...]) -> "StorePath":
        """`az://container/key`, or Hadoop's `abfs://container@account.dfs.core.windows.net/key`."""
        if user is None:
            return cls("az", path, "", options)
        if ":" in user:
            raise InputError("az://...: credentials before the '@'; set AZURE_STORAGE_KEY instead")
        host, _, key = path.partition("/")
        return cls("az", f"{user}/{key}".rstrip("/"), host.split(".")[0], options)

    def __str__(self) -> str:
        return self.uri

    @property
    def uri(self) -> str:
        """For messages and records."""
        if not self.account:
            return f"{self.scheme}://{self.path}"
        container, _, key = self.path.partition("/")
        return f"abfs://{container}@{self.account}.dfs.core.windows.net/{key}"

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def filesystem(self) -> "fs.FileSystem":
        """Raises InputError when the environment lacks what is needed to reach the store."""
        return _filesystem(self.scheme, self.account, self.options, self.secret)

    def at(self, path: str) -> "StorePath":
        """Another path of the same store."""
        return replace(self, path=path)

    def __truediv__(self, name: str) -> "StorePath":
        return self.at(f"{self.path}/{name}")

    def info(self) -> "fs.FileInfo":
        """Of type NotFound when there is nothing. Raises `store_errors`."""
        return self.filesystem.get_file_info(self.path)

    def below(self) -> "list[fs.FileInfo]":
        """All objects under the prefix, at any depth, sorted; none for a missing prefix. Raises `store_errors`."""
        from pyarrow import fs

        selector = fs.FileSelector(self.path, recursive=True, allow_not_found=True)
        found = [info for info in self.filesystem.get_file_info(selector) if info.is_file]
        return sorted(found, key=lambda info: str(info.path).split("/"))

    def tail(self, size: int, count: int) -> bytes:
        """The last `count` of an object's `size` bytes. Raises `store_errors`."""
        with self.filesystem.open_input_file(self.path) as stream:
            stream.seek(max(0, size - count))
            return bytes(stream.read(count))


def reason(error: BaseException) -> str:
    """A store's error as part of one line: no request numbers, no signatures, no second sentence."""
    # pyarrow's own text goes round about what the system says.
    number = getattr(error, "errno", None)
    text = os.strerror(number) if number else str(error)
    text = re.sub(r"\s*\(Request ID: [^)]*\)|; Details: .*|\. Detail: .*", "", text, flags=re.DOTALL)
    text = re.sub(r"(?i)\b(sig|token|signature|credential|key)=[^&\s'\"]+", r"\1=...", text)
    return " ".join(text.split())


@cache
def _filesystem(
    scheme: str, account: str, options: tuple[tuple[str, str], ...], secret: tuple[str, str] | None
) -> "fs.FileSystem":
    chosen: dict[str, Any] = dict(options)
    if "anonymous" in chosen:
        chosen["anonymous"] = chosen["anonymous"].lower() == "true"
    wrong: tuple[type[BaseException], ...] = (ValueError, *store_errors())
    try:
        return _OPENERS[scheme](chosen, account, secret)
    except ImportError as error:  # a pyarrow that was built without it; its wheels are not
        raise InputError(
            f"{scheme}://: this pyarrow was built without it ({error}); install pyarrow's wheel"
        ) from error
    except wrong as error:
        raise InputError(f"{scheme}://: the store's settings are wrong ({reason(error)})") from error


def _open_s3(options: dict[str, Any], _: str, secret: tuple[str, str] | None) -> "fs.FileSystem":
    from pyarrow import fs

    # pyarrow reads the endpoint from the environment in `from_uri` only, which has no way to set the retries.
    if endpoint := os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"):
        options.setdefault("endpoint_override", endpoint)
    if secret:
        options["access_key"], options["secret_key"] = secret
    return fs.S3FileSystem(
        **options,
        request_timeout=REPLY_SECONDS,
        connect_timeout=10,
        retry_strategy=fs.AwsDefaultS3RetryStrategy(max_attempts=S3_RETRIES),
    )


def _open_gs(options: dict[str, Any], _: str, __: tuple[str, str] | None) -> "fs.FileSystem":
    from pyarrow import fs

    return fs.GcsFileSystem(**options, retry_time_limit=timedelta(seconds=RETRY_SECONDS))


def _open_azure(options: dict[str, Any], account: str, _: tuple[str, str] | None) -> "fs.FileSystem":
    from pyarrow import fs

    account = account or _first("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME") or ""
    if not account:
        raise InputError("az://: no storage account; set AZURE_STORAGE_ACCOUNT, or write abfs://container@account/...")
    key = _first("AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY")
    token = None if key else _first("AZURE_STORAGE_SAS_TOKEN")
    return fs.AzureFileSystem(account, account_key=key, sas_token=token, **options)


def _first(*names: str) -> str | None:
    """The first of these environment variables that is set."""
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


_OPENERS: Mapping[str, Callable[[dict[str, Any], str, tuple[str, str] | None], Any]] = {
    "s3": _open_s3,
    "gs": _open_gs,
    "az": _open_azure,
}
