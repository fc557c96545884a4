"""The four servers as managed services offer them: TLS, passwords, and a user who may do nothing."""

from millrace_testkit.real.secured.certificates import Certificates
from millrace_testkit.real.secured.credentials import LIMITED, OWNER, Login
from millrace_testkit.real.secured.stack import SecuredStack

__all__ = ["LIMITED", "OWNER", "Certificates", "Login", "SecuredStack"]
