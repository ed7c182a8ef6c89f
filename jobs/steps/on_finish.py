"""Telling a scheduler how a night ended: a file, a command, or a URL that takes a POST.

Whatever goes wrong in telling is said and changes nothing: the night is what it is.
"""

import base64
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from jobs import console
from schemas.addresses import without_credentials
from schemas.night import NightSummary
from warehouse.files.atomic import write_text

# Seconds that a command may take, and a server to answer; seconds until it is asked once more.
COMMAND_SECONDS = 60.0
URL_SECONDS = 10.0
PAUSE = 2.0
ATTEMPTS = 2


def tell(
    night: NightSummary, summary: Path | None, on_finish: str | tuple[str, ...] | None
) -> None:
    """Write the summary to a file, and hand it to a command's standard input or to a URL."""
    text = night.to_json()
    if summary is not None:
        try:
            write_text(summary, text)
        except OSError as error:
            console.warn(f"the summary could not be written: {error}")
    if isinstance(on_finish, str):
        post(on_finish, text)
    elif on_finish:
        _run(on_finish, text)


def _run(command: tuple[str, ...], text: str) -> None:
    try:
        done = subprocess.run(
            command,
            input=text,
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = f"took over {COMMAND_SECONDS:.0f} s"
        said = reason if isinstance(error, subprocess.TimeoutExpired) else str(error)
        console.warn(f"on_finish: {command[0]}: {said}")
        return
    if done.returncode:
        last = " ".join(done.stderr.split())[-300:]
        console.warn(f"on_finish: {command[0]} ended with {done.returncode}: {last}")


def post(url: str, text: str) -> bool:
    """POST a JSON text, once more if that fails; return whether it was taken."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    headers = {"Content-Type": "application/json", "User-Agent": "headatlas"}
    if user:
        headers["Authorization"] = "Basic " + base64.b64encode(unquote(user).encode()).decode()
    bare = urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
    asked = urllib.request.Request(bare, text.encode(), headers, method="POST")
    reason = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE)
        try:
            with urllib.request.urlopen(asked, timeout=URL_SECONDS):
                return True
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())
    console.warn(f"on_finish: {without_credentials(url)}: {reason}; tried {ATTEMPTS} times")
    return False
