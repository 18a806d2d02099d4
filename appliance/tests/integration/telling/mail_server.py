"""A mail server (aiosmtpd): takes mail over TLS from one account, and prints each as a line of JSON. The first line is its port.

mail_server.py CERTIFICATE KEY starttls|always|never
"""

import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


class Keeper:
    async def handle_DATA(self, server, session, envelope):
        mail = {
            "tls": server.transport.get_extra_info("sslcontext") is not None,
            "account": session.auth_data.login.decode() if session.auth_data else None,
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "text": envelope.content.decode(),
        }
        print(json.dumps(mail), flush=True)
        return "250 taken"


def authenticate(server, session, envelope, mechanism, data):
    known = isinstance(data, LoginPassword) and (data.login, data.password) == (b"rack", b"the password")
    return AuthResult(success=known, handled=False, auth_data=data)


async def main():
    certificate, key, how = sys.argv[1:]
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    options = {"hostname": "mail", "authenticator": authenticate, "auth_required": how != "never"}
    if how == "starttls":
        options |= {"tls_context": context, "require_starttls": True}
    else:
        options |= {"auth_require_tls": False}
    make = lambda: SMTP(Keeper(), **options)
    around = context if how == "always" else None
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0, ssl=around)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
