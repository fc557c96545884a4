"""What a process reads that takes leases: `MILLRACE_COORDINATION` and, for etcd, `MILLRACE_ETCD_*`."""

from collections.abc import Callable
from pathlib import Path

from pydantic import Field, SecretStr

from millrace_ports.coordination import Coordination, EtcdSecurity, open_coordination
from millrace_ports.errors import ConfigurationError
from millrace_runtime.settings import Settings, SettingsError


class CoordinationSettings(Settings):
    """Base of the settings of such a process."""

    coordination: str = Field(description="local:PATH or etcd://host:port[,host:port]")
    etcd_ca_file: Path | None = Field(None, description="certificates that may sign etcd's; turns on TLS")
    etcd_cert_file: Path | None = Field(None, description="the client's certificate, where etcd asks for one")
    etcd_key_file: Path | None = Field(None, description="the private key to it")
    etcd_username: str | None = Field(None, description="user, where etcd has users")
    etcd_password: SecretStr | None = Field(None, description="its password")

    def open_coordination(self, *, boottime: Callable[[], float]) -> Coordination:
        """The backend; nothing is connected yet. Raises SettingsError that names the setting."""
        password = self.etcd_password
        try:
            security = EtcdSecurity(
                ca_file=self.etcd_ca_file,
                cert_file=self.etcd_cert_file,
                key_file=self.etcd_key_file,
                username=self.etcd_username,
                password=None if password is None else password.get_secret_value(),
            )
            return open_coordination(self.coordination, etcd=security, boottime=boottime)
        except ConfigurationError as error:
            raise SettingsError(str(error)) from error
