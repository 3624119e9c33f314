"""Calls an API once a second, with the token of a mounted Secret."""

import os
import sys
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

URL = os.environ.get("API_URL", "https://api.idissuer.pl/v2/reports")
TOKEN_FILE = Path(os.environ.get("TOKEN_FILE", "/run/idissuer/token"))


def send():
    """One request, with the token that is in the file now. Returns the status and the body."""
    request = Request(URL)
    # Not `add_header`: it would send the token to wherever a redirect leads.
    request.add_unredirected_header("Authorization", "Bearer " + TOKEN_FILE.read_text().strip())
    try:
        with urlopen(request, timeout=10) as response:
            return response.status, response.read()
    except HTTPError as error:
        return error.code, error.read()


def get():
    """After a 401, reads the file again and repeats the request once: the token may be replaced meanwhile."""
    status, body = send()
    return send() if status == 401 else (status, body)


while True:
    try:
        status, body = get()
        print(status, flush=True)
    except OSError as error:
        print("failed:", error, file=sys.stderr)
    time.sleep(1)
