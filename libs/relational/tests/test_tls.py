"""Connections as managed services want them: TLS by sslmode, passwords, certificates."""

from pathlib import Path

import pytest
from sqlalchemy import text

from millrace_relational import AwayError, DatabaseUrl, RefusedError, RelationalError, reading

from .conftest import SecuredServer, opened

pytestmark = pytest.mark.real


async def encrypted(url: str) -> bool:
    """Whether the server sees TLS on a connection by this URL. Raises what connecting raises."""
    engine = opened(DatabaseUrl.parse(url))
    try:
        async with reading(engine) as connection:
            found = await connection.scalar(text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))
            return bool(found)
    finally:
        await engine.dispose()


async def refusal(url: str) -> str:
    """Why a connection by this URL cannot be had, ever."""
    with pytest.raises(RefusedError) as refused:
        await encrypted(url)
    assert "s3cret" not in str(refused.value)
    return refused.value.reason


async def test_each_mode_against_a_server_with_tls(secured: SecuredServer) -> None:
    ca = str(secured.authority)
    assert await encrypted(secured.url())
    assert await encrypted(secured.url(sslmode="prefer"))
    assert await encrypted(secured.url(sslmode="require"))
    assert await encrypted(secured.url(sslmode="require", sslrootcert=ca))
    assert await encrypted(secured.url(sslmode="verify-ca", sslrootcert=ca))
    assert await encrypted(secured.url(sslmode="verify-full", sslrootcert=ca))
    assert not await encrypted(secured.url("open", sslmode="disable"))
    assert await encrypted(secured.url("certified", password="", sslmode="verify-full", sslrootcert=ca,
        sslcert=str(secured.client_certificate), sslkey=str(secured.client_key)))  # fmt: skip


async def test_a_certificate_that_proves_nothing_is_refused(secured: SecuredServer) -> None:
    ca, other = str(secured.authority), str(secured.other_authority)
    for mode in ("require", "verify-ca", "verify-full"):
        assert "certificate is not accepted" in await refusal(secured.url(sslmode=mode, sslrootcert=other))
    assert "certificate is not accepted" in await refusal(secured.url(sslmode="verify-full"))
    by_name = {"host": "localhost", "sslrootcert": ca}  # the certificate is for 127.0.0.1
    assert "certificate is not accepted" in await refusal(secured.url(sslmode="verify-full", **by_name))
    assert await encrypted(secured.url(sslmode="verify-ca", **by_name))


async def test_what_the_server_does_not_allow_is_said(secured: SecuredServer) -> None:
    assert "pg_hba.conf" in await refusal(secured.url(sslmode="disable"))
    assert "user or password" in await refusal(secured.url(password="s3cret"))
    assert "user or password" in await refusal(secured.url(password=""))
    assert "no such database" in await refusal(secured.url().replace("/things", "/absent"))
    unknown = await refusal(secured.url("nobody", sslmode="require"))
    assert "refuses" in unknown


async def test_a_server_without_tls_is_refused_where_tls_is_asked_for(
    secured: SecuredServer, server_url: DatabaseUrl
) -> None:
    plain = f"postgresql://millrace@127.0.0.1:{server_url.url.port}/postgres"
    assert not await encrypted(plain)
    assert not await encrypted(f"{plain}?sslmode=prefer")
    assert "offers no TLS" in await refusal(f"{plain}?sslmode=require")
    assert "offers no TLS" in await refusal(f"{plain}?sslmode=verify-full")


async def test_files_that_cannot_be_used_are_named(secured: SecuredServer, tmp_path: Path) -> None:
    wrong, absent = tmp_path / "wrong.pem", tmp_path / "absent.pem"
    wrong.write_text("not a certificate")
    client = {"sslcert": str(secured.client_certificate), "sslkey": str(secured.client_key)}
    for parameters, why in (
        ({"sslrootcert": str(absent)}, "sslrootcert: the file cannot be read: No such file"),
        ({"sslrootcert": str(tmp_path)}, "sslrootcert: the file"),
        ({"sslrootcert": str(wrong)}, "sslrootcert: the file holds no certificate"),
        ({**client, "sslkey": str(absent)}, "sslkey: the file cannot be read"),
        ({**client, "sslcert": str(wrong)}, "sslcert and sslkey: not a certificate and its key"),
        ({**client, "sslcert": str(secured.authority)}, "sslcert and sslkey: not a certificate and its key"),
    ):
        assert why in await refusal(secured.url(sslmode="verify-full", **parameters))


async def test_neither_variables_nor_files_of_libpq_are_asked(
    secured: SecuredServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "s3cret/1")
    monkeypatch.setenv("PGSSLMODE", "require")
    monkeypatch.setenv("PGPORT", "1")
    assert "user or password" in await refusal(secured.url("open", password=""))
    assert not await encrypted(secured.url("open", sslmode="disable"))


async def test_nobody_listens(secured: SecuredServer) -> None:
    with pytest.raises(RelationalError) as away:
        await encrypted("postgresql://u:s3cret@127.0.0.1:1/d?sslmode=require")
    assert isinstance(away.value, AwayError)
    assert "s3cret" not in str(away.value)
