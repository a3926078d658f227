"""What schemathesis is told about the drive: how bytes of tus are sent, and how to sign in.

URL, NAME, PASSWORD and RESET come from run.sh; without NAME nobody signs in.

The session is made anew every few seconds: what is tried at random ends sessions and gives new
passwords, too, and a run that goes on without a session tests nothing.
"""

import os
import subprocess

import requests
import schemathesis

password = os.environ.get("PASSWORD")

schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")


class Session:
    def get(self, case, context):
        answer = sign_in()
        if answer.status_code == 401:
            reset()
            answer = sign_in()
        answer.raise_for_status()
        return answer.cookies["session"]

    def set(self, case, data, context):
        case.headers["Cookie"] = f"session={data}"


def sign_in():
    form = {"name": os.environ["NAME"], "password": password}
    return requests.post(os.environ["URL"] + "/api/login", json=form, timeout=30)


def reset():
    """A new password by the console, whose last word it is."""
    global password
    done = subprocess.run(os.environ["RESET"].split(), check=True, capture_output=True, text=True)
    password = done.stdout.split()[-1]


if "NAME" in os.environ:
    schemathesis.auth(refresh_interval=5)(Session)
