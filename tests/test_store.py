"""URIs of object stores: what they mean, and that no message or record shows what is secret in one."""

import pickle

import pytest

from nerx.engine.errors import InputError
from nerx.engine.reading.store import StorePath, is_uri, reason
from nerx.engine.writing.output import open_output

SECRET = "wJalr/XUtn+FEMI"
QUOTED = "wJalr%2FXUtn%2BFEMI"


@pytest.mark.parametrize(
    ("uri", "path", "shown"),
    [
        ("s3://lake/a/b.parquet", "lake/a/b.parquet", "s3://lake/a/b.parquet"),
        ("s3://lake/", "lake", "s3://lake"),
        ("S3A://lake/a b%20c/", "lake/a b%20c", "s3://lake/a b%20c"),
        ("s3://lake/part-?.parquet", "lake/part-?.parquet", "s3://lake/part-?.parquet"),
        ("s3://lake/part-?.csv?region=eu-1", "lake/part-?.csv", "s3://lake/part-?.csv"),
        (f"s3://AKIA:{QUOTED}@lake/a?scheme=http", "lake/a", "s3://lake/a"),
        ("gs://lake/a?anonymous=true", "lake/a", "gs://lake/a"),
        ("az://box/a", "box/a", "az://box/a"),
        ("abfss://box@acme.dfs.core.windows.net/a/b", "box/a/b", "abfs://box@acme.dfs.core.windows.net/a/b"),
    ],
)
def test_a_uri_is_a_path_in_a_store(uri, path, shown):
    place = StorePath.parse(uri)
    assert (place.path, place.uri, str(place)) == (path, shown, shown)
    assert pickle.loads(pickle.dumps(place)) == place
    assert StorePath.parse(shown).path == path


def test_credentials_in_a_uri_are_used_and_never_shown(tmp_path):
    place = StorePath.parse(f"s3://AKIA:{QUOTED}@lake/a.parquet?region=us-east-1")
    assert place.secret == ("AKIA", SECRET)
    assert place.filesystem.region == "us-east-1"
    output = open_output(f"s3://AKIA:{QUOTED}@lake/a.parquet", tmp_path)
    for shown in (place, place.options, output, repr(output), output.home, place / "b", repr(place)):
        assert "AKIA" not in str(shown)
        assert SECRET not in str(shown)
        assert QUOTED not in str(shown)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("ftp://host/a.parquet", "nerx knows the object stores s3://, gs://, az://"),
        ("s3:///a", "names no bucket"),
        (f"s3://AKIA:{SECRET}@lake/a", "has to be percent-encoded"),
        (f"s3://lake/a?secret={QUOTED}", "unknown option 'secret'; those of a s3:// URI are anonymous, endpoint"),
        (f"gs://AKIA:{QUOTED}@lake/a", "credentials before the '@' that nerx cannot use"),
        (f"abfs://box:{QUOTED}@acme/a", "credentials before the '@'; set AZURE_STORAGE_KEY"),
    ],
)
def test_a_wrong_uri_is_refused_and_not_repeated(uri, message):
    with pytest.raises(InputError) as caught:
        StorePath.parse(uri)
    assert message in str(caught.value)
    assert "AKIA" not in str(caught.value)
    assert "wJalr" not in str(caught.value)


def test_azure_needs_an_account(monkeypatch):
    for name in ("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match="no storage account; set AZURE_STORAGE_ACCOUNT"):
        StorePath.parse("az://box/a").filesystem  # noqa: B018
    assert StorePath.parse("abfs://box@acme/a").filesystem.type_name == "abfs"
    assert StorePath.parse("gs://box/a?anonymous=true").filesystem.type_name == "gcs"


def test_only_uris_are_uris():
    assert is_uri("s3://a")
    assert not any(is_uri(name) for name in ("a.parquet", "/a://b", "c:/x", "", None))


def test_a_reason_is_one_line_without_request_numbers_and_signatures():
    error = OSError("When reading: AWS Error X (HTTP status 500)\n during Y (Request ID: abc); Details: on 10.0.0.1")
    assert reason(error) == "When reading: AWS Error X (HTTP status 500) during Y"
    assert reason(OSError("GET https://x/y?sv=1&sig=abc%3D&se=2 failed")) == "GET https://x/y?sv=1&sig=...&se=2 failed"
    assert reason(OSError(28, "No space left on device")) == "No space left on device"


def test_every_uri_has_a_place_of_its_own_to_be_built_in(tmp_path, monkeypatch):
    uris = ["s3://a/x.parquet", "s3://b/x.parquet", "gs://a/x.parquet", "s3://a/x.parquet?endpoint_override=h:1"]
    homes = [open_output(uri, tmp_path).home for uri in uris]
    assert len(set(homes)) == 4
    assert {home.parent for home in homes} == {tmp_path}
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert open_output("s3://a/x.parquet").home.parent == tmp_path / "state/nerx"
