"""Certificates of a client."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Union

import grpc


@dataclass(frozen=True)
class Tls:
    """Certificates for a service that asks for them (security.certs): paths of PEM files, read when a channel opens.

    server_name: what the service's certificate must say; certificates of `swerve certs init` name the role.
    """

    authority: str
    certificate: str
    key: str
    server_name: str = "reward.swerve"

    @classmethod
    def of_directory(cls, directory: Union[str, "os.PathLike[str]"]) -> "Tls":
        """The caller's three files of a directory that `swerve certs init` made: ca.crt, client.crt, client.key."""
        paths = (os.path.join(os.fspath(directory), name) for name in ("ca.crt", "client.crt", "client.key"))
        return cls(*paths)

    def credentials(self) -> Any:
        def read(path: str) -> bytes:
            with open(path, "rb") as file:
                return file.read()

        return grpc.ssl_channel_credentials(
            root_certificates=read(self.authority),
            private_key=read(self.key),
            certificate_chain=read(self.certificate),
        )
