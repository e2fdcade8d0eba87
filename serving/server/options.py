"""The options of a server on one machine, checked before a process is started."""

from dataclasses import dataclass, field
from pathlib import Path

from serving.feedback.settings import FeedbackSettings
from serving.gateway.caddy import Ports
from serving.gateway.cors import check_origins
from serving.gateway.hosts import hosts_to_check
from serving.gateway.keys import check_keys
from serving.gateway.tls import Pair
from serving.server.addresses import bracketed, choose_ports
from serving.server.archive import Archive, read_archive
from serving.server.find_java import Java, find_java
from serving.server.settings import Limits, choose_limits
from serving.terminal import say


@dataclass(frozen=True, slots=True)
class Options:
    """Options of both halves of the server: see TorchServe and Gateway."""

    archive: Archive
    java: Java
    limits: Limits
    host: str = "127.0.0.1"
    ports: Ports = field(default_factory=Ports)
    drain_s: float = 0.5
    startup_s: float = 90
    keys: Path | None = None
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    """Host names that requests may name; empty accepts every name."""
    access_log: bool = False
    stats: bool = False
    public_metrics: bool = False
    image_operations: bool = False
    feedback: FeedbackSettings | None = None
    tls: Pair | None = None
    verbose: bool = False

    @property
    def workers(self) -> int:
        return self.limits.workers

    @property
    def url(self) -> str:
        """Return where this machine reaches REST and the page."""
        return self.url_of({"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host))

    def url_of(self, host: str) -> str:
        return f"{'https' if self.tls else 'http'}://{bracketed(host)}:{self.ports.rest}"


def server_options(
    archive: Path,
    sha256: str | None = None,
    host: str = "127.0.0.1",
    any_port: bool = False,
    verbose: bool = False,
    *,
    model_key: Path | None = None,
    port: int = 8080,
    grpc_port: int = 7070,
    metrics_port: int = 8082,
    workers: int | None = None,
    drain: float = 0.5,
    startup_s: float = 90,
    keys: Path | None = None,
    cors_origins: tuple[str, ...] = (),
    allowed_hosts: tuple[str, ...] = (),
    access_log: bool = False,
    stats: bool = False,
    public_metrics: bool = False,
    image_operations: bool = False,
    feedback: FeedbackSettings | None = None,
    tls: Pair | None = None,
) -> Options:
    """Check everything that can be checked before a process is started, and announce the start."""
    checked = read_archive(archive, sha256, model_key)
    checked.check_unsure()
    if keys is not None:
        check_keys(keys)
    check_origins(cors_origins)
    hosts = hosts_to_check(allowed_hosts, keys is not None)
    if tls is not None:
        tls.read()
    if feedback is not None:
        feedback.check()
        feedback.check_writable()
    java = find_java()
    options = Options(
        archive=checked,
        java=java,
        limits=choose_limits(workers, image_operations=image_operations),
        host=host,
        ports=choose_ports(host, Ports(port, grpc_port, metrics_port), any_port),
        drain_s=drain,
        startup_s=startup_s,
        keys=keys,
        cors_origins=cors_origins,
        allowed_hosts=hosts,
        access_log=access_log,
        stats=stats,
        public_metrics=public_metrics,
        image_operations=image_operations,
        feedback=feedback,
        tls=tls,
        verbose=verbose,
    )
    say(f"Starting TorchServe on {checked.name} {checked.version} (Java {java.version}: {java.path})")
    return options
