"""A stand-in for docker, for machines that cannot run it: an image is a command, and its container a process.

It knows what serving/hosting/compose_deploy asks docker, and refuses everything else. STANDIN_DOCKER names its folder:

    registry.json    image by reference, as {"id", "digest", "command", "pull_s"}: what can be pulled
    images.json      the same, for what is on the machine; tags are further references to an id
    container.json   the one container of the service

A process that ended is a container that is being restarted, as `restart: unless-stopped` has it.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

HOME = Path(os.environ["STANDIN_DOCKER"])
STOP_S = 30.0


def read(name: str) -> dict[str, Any]:
    path = HOME / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def write(name: str, document: dict[str, Any]) -> None:
    (HOME / f"{name}.json").write_text(json.dumps(document))


def fail(text: str) -> NoReturn:
    print(text, file=sys.stderr)
    sys.exit(1)


def resolve(reference: str) -> dict[str, Any]:
    """Return an image on this machine by tag, digest or id."""
    images = read("images")
    for name, image in images.items():
        if reference in (name, image["id"], image["digest"]):
            return dict(image)
    fail(f"Error response from daemon: No such image: {reference}")


def state(pid: int) -> str:
    """Return the letter of a process' state; one that nobody has waited for is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0].replace("Z", "")
    except OSError:
        return ""


def stop() -> None:
    container = read("container")
    if not container:
        return
    if state(container["pid"]):
        os.killpg(container["pid"], signal.SIGTERM)
    deadline = time.monotonic() + STOP_S
    while state(container["pid"]):
        if time.monotonic() > deadline:
            os.killpg(container["pid"], signal.SIGKILL)
        time.sleep(0.02)
    (HOME / "container.json").unlink()


def pull(reference: str) -> None:
    registry = read("registry")
    if reference not in registry:
        fail(f"Error response from daemon: manifest for {reference} not found: manifest unknown: manifest unknown")
    time.sleep(registry[reference].get("pull_s", 0))
    write("images", {**read("images"), reference: registry[reference]})
    print(reference)


def up() -> None:
    image = resolve(os.environ["CATSDOGS_IMAGE"])
    container = read("container")
    if container and container["image"] == image["id"] and state(container["pid"]):
        return
    stop()
    with (HOME / "log").open("wb") as log:
        child = subprocess.Popen(
            image["command"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    write("container", {"id": f"c{child.pid}", "pid": child.pid, "image": image["id"]})


def inspect(identifier: str) -> None:
    container = read("container")
    if container.get("id") != identifier:
        fail(f"Error: No such object: {identifier}")
    running = bool(state(container["pid"]))
    status = {"Status": "running" if running else "restarting", "ExitCode": 0 if running else 1}
    print(json.dumps([{"Image": container["image"], "State": status, "RestartCount": 0 if running else 1}]))


def main(arguments: list[str]) -> None:
    match arguments:
        case ["pull", "--quiet", reference]:
            pull(reference)
        case ["image", "inspect", reference]:
            image = resolve(reference)
            print(json.dumps([{"Id": image["id"], "RepoDigests": [image["digest"]] if image["digest"] else []}]))
        case ["tag", identifier, name]:
            write("images", {**read("images"), name: resolve(identifier)})
        case ["inspect", identifier]:
            inspect(identifier)
        case ["compose", "ps", "--all", "--quiet", "serve"]:
            print(read("container").get("id", ""))
        case ["compose", "up", "--detach", "--no-build", "--no-deps", "serve"]:
            up()
        case ["compose", "rm", "--stop", "--force", "serve"]:
            stop()
        case ["compose", "logs", "--no-color", "--tail", "20", "serve"]:
            sys.stdout.buffer.write((HOME / "log").read_bytes())
        case _:
            fail(f"The stand-in for docker does not know: {' '.join(arguments)}")


if __name__ == "__main__":
    main(sys.argv[1:])
