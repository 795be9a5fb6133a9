"""Make a certificate to sign results with, and read what files say of their origin. Signs nothing; uses no network."""

from .certificates import MadeCertificate, make_certificate
from .verify import Manifest, Origin, verify

__all__ = ["MadeCertificate", "Manifest", "Origin", "make_certificate", "verify"]
