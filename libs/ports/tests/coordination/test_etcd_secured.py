"""Coordination on an etcd that asks for TLS, a client certificate and a user."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from millrace_ports.coordination import (
    Coordination,
    CoordinationError,
    CoordinationRefusedError,
    EtcdSecurity,
    open_coordination,
)
from millrace_testkit.contracts.coordination_keys import read
from millrace_testkit.eventually import eventually_true
from millrace_testkit.real.etcd import EtcdServer
from millrace_testkit.real.secured import LIMITED, OWNER
from millrace_testkit.real.secured.etcd import SecuredEtcd

pytestmark = pytest.mark.real

WITHIN_S = 30.0


@pytest.fixture
def right(secured_etcd: SecuredEtcd) -> EtcdSecurity:
    """What the secured etcd asks for."""
    certificates = secured_etcd.certificates
    return EtcdSecurity(
        ca_file=certificates.ca,
        cert_file=certificates.certificate("client"),
        key_file=certificates.key("client"),
        username=OWNER.name,
        password=OWNER.password,
    )


async def said(url: str, security: EtcdSecurity) -> str:
    """How the client refuses: not worth another try, without any password."""
    client = open_coordination(url, etcd=security)
    with pytest.raises(CoordinationRefusedError) as caught:
        await client.get("k")
    await client.close()
    assert not caught.value.retryable
    for login in (OWNER, LIMITED):
        assert login.password not in str(caught.value)
    return str(caught.value)


async def test_everything_works_with_tls_and_a_user(secured_etcd: SecuredEtcd, right: EtcdSecurity) -> None:
    client = open_coordination(secured_etcd.url, etcd=right)
    start = (await client.list("")).revision + 1
    assert await client.create("w/k", b"1") is not None
    assert [event.value for event in await read(client, "w/", start, 1)] == [b"1"]
    lease = await client.acquire("maintenance", 30.0, "host")
    assert lease is not None
    await client.check(await client.renew(lease))
    await client.release(lease)
    assert await client.delete("w/k")
    await client.close()


async def test_a_login_is_renewed_when_the_server_has_forgotten_it(
    secured_etcd: SecuredEtcd, right: EtcdSecurity
) -> None:
    """A restart forgets the tokens of all who are logged in; the watch logs in anew as well."""
    client = open_coordination(secured_etcd.url, etcd=right)
    start = (await client.list("")).revision + 1
    watching = asyncio.create_task(read(client, "w/", start, 1))
    await asyncio.sleep(0.3)
    await asyncio.to_thread(secured_etcd.kill)
    await asyncio.to_thread(secured_etcd.start)

    async def put() -> bool:
        try:
            return await client.put("w/k", b"2") is not None
        except CoordinationError as error:
            if not error.retryable:
                raise
            return False

    await eventually_true(put, WITHIN_S, "a change after the restart")
    assert [event.value for event in await watching] == [b"2"]
    await client.close()


async def test_wrong_logins_are_told(secured_etcd: SecuredEtcd, right: EtcdSecurity) -> None:
    url = secured_etcd.url
    wrong = await said(url, replace(right, password="not-the-password"))
    assert "MILLRACE_ETCD_PASSWORD" in wrong
    assert "not-the-password" not in wrong
    assert "MILLRACE_ETCD_USERNAME" in await said(url, replace(right, username="stranger"))
    assert "MILLRACE_ETCD_USERNAME" in await said(url, replace(right, username=None, password=None))


async def test_a_right_that_lacks_is_told(secured_etcd: SecuredEtcd, right: EtcdSecurity) -> None:
    limited = replace(right, username=LIMITED.name, password=LIMITED.password)
    text = await said(secured_etcd.url, limited)
    assert "MILLRACE_ETCD_USERNAME" in text
    assert "/millrace/" in text
    client = open_coordination(secured_etcd.url, etcd=limited)
    for call in (client.put("k", b""), client.acquire("a", 5.0, "host"), read(client, "w/", 1, 1)):
        with pytest.raises(CoordinationRefusedError, match="MILLRACE_ETCD_USERNAME"):
            await call
    await client.close()


async def test_an_untrusted_server_is_told(secured_etcd: SecuredEtcd, right: EtcdSecurity) -> None:
    text = await said(secured_etcd.url, replace(right, ca_file=secured_etcd.certificates.other_ca))
    assert "MILLRACE_ETCD_CA_FILE" in text
    assert "verif" in text


async def test_missing_tls_is_told(
    secured_etcd: SecuredEtcd, real_etcd: EtcdServer, right: EtcdSecurity
) -> None:
    assert "MILLRACE_ETCD_CA_FILE is not set" in await said(secured_etcd.url, EtcdSecurity())
    assert "does not speak TLS" in await said(real_etcd.url, right)


async def test_a_missing_client_certificate_is_told(secured_etcd: SecuredEtcd, right: EtcdSecurity) -> None:
    assert "MILLRACE_ETCD_CERT_FILE" in await said(
        secured_etcd.url, replace(right, cert_file=None, key_file=None)
    )


async def test_a_secured_server_away_is_an_outage(secured_etcd: SecuredEtcd, right: EtcdSecurity) -> None:
    client: Coordination = open_coordination(secured_etcd.url, etcd=right)
    await asyncio.to_thread(secured_etcd.kill)
    with pytest.raises(CoordinationError) as caught:
        await client.get("k")
    assert caught.value.retryable
    await client.close()
