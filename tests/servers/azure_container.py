"""Makes a container in Azurite, whose account and key are public: azure_container.py URL CONTAINER."""

import base64
import email.utils
import hashlib
import hmac
import sys
import urllib.error
import urllib.request

ACCOUNT = "devstoreaccount1"
# The key of every Azurite, from its documentation.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def signed(url: str, container: str) -> urllib.request.Request:
    headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2023-11-03"}
    # Shared Key: the verb, eleven standard headers (none sent), ours in order, the resource.
    lines = ["PUT"] + [""] * 11 + [f"{name}:{value}" for name, value in sorted(headers.items())]
    lines += [f"/{ACCOUNT}/{ACCOUNT}/{container}", "restype:container"]
    digest = hmac.new(base64.b64decode(KEY), "\n".join(lines).encode(), hashlib.sha256).digest()
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"
    target = f"{url}/{ACCOUNT}/{container}?restype=container"
    return urllib.request.Request(target, method="PUT", headers={**headers, "Content-Length": "0"})


if __name__ == "__main__":
    try:
        urllib.request.urlopen(signed(sys.argv[1], sys.argv[2]), timeout=20)
    except urllib.error.HTTPError as error:
        if error.code != 409:  # it is there already
            sys.exit(f"azurite answered {error.code}: {error.read(300)!r}")
