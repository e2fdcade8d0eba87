"""Deploy a release by Helm, and go back if it fails: upgrade, test, validate.

    python -m k8s.deploy --values helm/values-cpu.yaml --tag 0.3.0-cpu --url https://cats.example.org

`helm upgrade` rolls back by itself if the new pods do not get ready, or fail the chart's validation, which is
turned on. Then `helm test` asks by every protocol, and `catsdogs validate` asks the address of --url from outside, if
there is one. If one of them does not pass, the revision before is deployed again; a first release is removed.

Exit codes:

     0  the release is deployed and passed
    10  it was refused, and the revision before is deployed again; a first release was removed
    11, 12  the same, since `catsdogs validate` was inconclusive, or invalid
    13  the cluster or the release is not ready: nothing was changed, or going back failed
     2  wrong usage, such as a value that the chart does not know
   130, 143  interrupted by SIGINT, SIGTERM: as 10
"""

import argparse
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from common.verdicts import WRONG_USAGE, Verdict
from k8s.helm_release import Ended, Interrupted, Release, last_line

CHART = Path(__file__).parent.parent / "helm"
NAMES = {verdict.exit_code: verdict for verdict in Verdict}
# `validate` waits so long for a server that the balancer has not found yet.
WAIT_S = 60
# What Helm 3 and 4 say after they have gone back by themselves.
UNDONE = re.compile("has been (rolled back|uninstalled)")


def deploy(release: Release, url: str | None, minimum: str) -> None:
    """Deploy the chart of this checkout.

    Raises:
        Ended: it was refused, or nothing could be done.
        Interrupted: the revision before is deployed again.
    """
    atomic, history = release.atomic(), release.history()
    if history and history[-1].status.startswith("pending"):
        raise Ended(
            Verdict.NOT_READY.exit_code,
            f"Revision {history[-1].number} of {release.name} is {history[-1].status}: another deployment is "
            f"running, or was killed. After a kill: helm rollback {release.name} --namespace {release.namespace} "
            "--wait",
        )
    before = next((entry.number for entry in reversed(history) if entry.status == "deployed"), None)
    options = [atomic, "--wait", f"--timeout={release.timeout}", "--set=validation.enabled=true", *release.values]
    say(f"helm upgrade --install {release.name} {' '.join(options)}")
    try:
        done = release.run("upgrade", "--install", release.name, str(CHART), *options)
        say(done.stdout)
        if done.returncode != 0 and not UNDONE.search(done.stdout) and release.history() == history:
            raise Ended(WRONG_USAGE, f"Helm refuses it, and nothing was changed: {last_line(done.stdout)}")
        failed = ("The upgrade", Verdict.BREACH.exit_code) if done.returncode else judge(release, url, minimum)
        if failed is None:
            return
    except Interrupted:
        ignore_signals()
        if release.history() != history:
            go_back(release, before)
        raise
    ignore_signals()
    go_back(release, before)
    state = "the release was removed, as there was none before" if before is None else f"revision {before} is back"
    raise Ended(failed[1], f"{failed[0]} did not pass, and {state}.")


def judge(release: Release, url: str | None, minimum: str) -> tuple[str, int] | None:
    """Test what was deployed. Return what did not pass, and its exit code, or None."""
    done = release.run("test", release.name, "--logs", f"--timeout={release.timeout}")
    say(done.stdout)
    if done.returncode != 0:
        return "`helm test`", Verdict.BREACH.exit_code
    if url is not None:
        command = [sys.executable, "-P", "-m", "catsdogs", "validate", "--url", url, "--wait", str(WAIT_S)]
        code = subprocess.run([*command, "--min-accuracy", minimum], cwd=CHART.parent).returncode
        if code != 0:
            return "`catsdogs validate`", code if code in NAMES else Verdict.NOT_READY.exit_code
    return None


def go_back(release: Release, before: int | None) -> None:
    """Have the revision before deployed again, or nothing if there was none; Helm may have done that by itself.

    Raises:
        Ended: that failed.
    """
    history = release.history()
    if not history or history[-1].is_rollback:
        return
    if before is None:
        done = release.run("uninstall", release.name, "--wait", f"--timeout={release.timeout}")
    else:
        done = release.run("rollback", release.name, str(before), "--wait", f"--timeout={release.timeout}")
    say(done.stdout)
    if done.returncode != 0:
        raise Ended(Verdict.NOT_READY.exit_code, f"Going back failed: {last_line(done.stdout)}")


def image_part(pattern: str) -> Callable[[str], str]:
    """Return a check of an option, whose value Helm would otherwise read for more than one."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise argparse.ArgumentTypeError(f"{value!r} must match {pattern}")
        return value

    return check


def address(value: str) -> str:
    """Return a URL that can be asked: a wrong one would have a good release taken back."""
    if not re.fullmatch(r"https?://[^\s/]+\S*", value):
        raise argparse.ArgumentTypeError(f"{value!r} is no address such as https://cats.example.org")
    return value


def share(value: str) -> str:
    if not 0 < float(value) < 1:
        raise ValueError
    return value


def say(text: str) -> None:
    print(text.rstrip(), flush=True)


def on_signal(number: int, frame: FrameType | None) -> None:
    raise Interrupted(number)


def ignore_signals() -> None:
    """Going back is not interrupted."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m k8s.deploy", description="Deploy by Helm, and go back if it fails.")
    made.add_argument("--release", default="catsdogs", help="Name of the release. Default: catsdogs.")
    made.add_argument("--namespace", default="default", help="Namespace of the release. Default: default.")
    made.add_argument("--values", action="append", default=[], metavar="FILE", help="File with values. Repeatable.")
    made.add_argument("--image", type=image_part(r"[a-z0-9][a-z0-9._:/-]*"), help="Repository of the image.")
    made.add_argument("--tag", type=image_part(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"), help="Tag of the image.")
    made.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="A value. Repeatable.")
    made.add_argument(
        "--keep-values",
        action="store_true",
        help="Keep the values of the deployed release, such as its image or model; those given here change theirs.",
    )
    made.add_argument("--url", type=address, help="Address at which users reach the server, for `catsdogs validate`.")
    made.add_argument("--min-accuracy", type=share, default="0.85", help="Minimum accuracy there. Default: 0.85.")
    made.add_argument("--timeout", default="10m", help="Time for each step of Helm. Default: 10m.")
    made.add_argument("--helm", default=os.environ.get("HELM", "helm"), help="Helm 3 or 4. Default: $HELM, else helm.")
    return made


def main() -> int:
    given = parser().parse_args()
    image = {"repository": given.image, "tag": given.tag}
    # Not --reuse-values, which knows no default of a newer chart.
    values = ["--reset-then-reuse-values"] if given.keep_values else []
    values += [f"--values={path}" for path in given.values] + [f"--set={value}" for value in given.set]
    # As text: a tag of digits is no number.
    values += [f"--set-string=image.{name}={value}" for name, value in image.items() if value]
    release = Release(given.helm, given.release, given.namespace, given.timeout, values)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    try:
        deploy(release, given.url, given.min_accuracy)
    except Interrupted as error:
        say(str(error))
        return 128 + error.number
    except Ended as error:
        say(f"{NAMES[error.code].value if error.code in NAMES else 'Wrong usage'}: {error}")
        return error.code
    say(f"PASS: {release.name} is deployed in {release.namespace}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
