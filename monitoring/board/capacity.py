"""Rows about what the server has left: queue, workers, batches, GPU."""

from monitoring.board.panel import Panel, Row, mean, named, quantile, rate


def saturation() -> Row:
    where = "{{namespace}} {{pod}} {{instance}}"
    return Row(
        "Saturation: queue, workers, batches",
        (
            Panel(
                "Queue",
                "percentunit",
                {where: f"{named('catsdogs_queue_requests')} / {named('catsdogs_queue_limit_requests')}"},
                "Requests that wait for a worker, of those that may. A full queue answers 503.",
                line=0.5,
            ),
            Panel(
                "Requests held",
                "none",
                {"{{stage}}": f"sum by (stage) ({named('catsdogs_requests_in_flight')})"},
                "Requests whose body is arriving (upload), and those that TorchServe was asked.",
                stacked=True,
            ),
            Panel(
                "Workers' utilisation",
                "percentunit",
                {
                    where: f"sum by (namespace, pod, instance) ({rate('catsdogs_worker_busy_seconds_total')}) / "
                    f"sum by (namespace, pod, instance) ({named('catsdogs_workers_ready')} > 0)"
                },
                "Share of the time that workers are busy. Above three quarters, waiting grows fast.",
                line=0.75,
            ),
            Panel(
                "Workers",
                "none",
                {
                    "ready": f"sum({named('catsdogs_workers_ready')})",
                    "wanted": f"sum({named('catsdogs_workers_wanted')})",
                },
                "Workers that can answer, and those that the servers were started with.",
            ),
            Panel(
                "Workers replaced in an hour",
                "none",
                {"{{reason}}": f"sum by (reason) (increase({named('catsdogs_worker_restarts_total')}[1h]))"},
                "Workers that hung, ran out of memory or ended.",
                line=3,
            ),
            Panel(
                "Oldest heartbeat",
                "s",
                {where: f"max by (namespace, pod, instance) ({named('catsdogs_worker_heartbeat_age_seconds')})"},
                "Age of the oldest heartbeat of a worker. A worker sends one each half second.",
                line=2,
            ),
            Panel(
                "Batches' fill",
                "percentunit",
                {
                    "fill": f"{mean('catsdogs_batch_pictures')} / on () avg({named('catsdogs_batch_limit_pictures')})",
                },
                "Mean pictures of a run of the network, of those that it takes.",
            ),
            Panel(
                "Pictures in a batch",
                "none",
                {f"p{share * 100:g}": quantile(share, "catsdogs_batch_pictures") for share in (0.5, 0.95)},
                "Pictures of a run of the network.",
            ),
            Panel(
                "Gateways that answer",
                "none",
                {
                    "gateways": f"count({named('catsdogs_build_info')})",
                    "with TorchServe": f"sum({named('catsdogs_torchserve_up')})",
                },
                "Gateways that Prometheus reads, and those whose TorchServe answers.",
            ),
        ),
    )


def gpu() -> Row:
    gpu_of = "{{Hostname}} GPU {{gpu}}"
    return Row(
        "GPU (needs NVIDIA's DCGM exporter)",
        (
            Panel(
                "Multiprocessors active",
                "percentunit",
                {gpu_of: "DCGM_FI_PROF_SM_ACTIVE or DCGM_FI_PROF_GR_ENGINE_ACTIVE"},
                "Share of the multiprocessors that have work. DCGM's utilisation is 100 % with any kernel running.",
            ),
            Panel(
                "Memory",
                "percentunit",
                {gpu_of: "DCGM_FI_DEV_FB_USED / (DCGM_FI_DEV_FB_USED + DCGM_FI_DEV_FB_FREE)"},
                "Share of the GPU's memory in use.",
                line=0.95,
            ),
            Panel(
                "Errors and throttling",
                "none",
                {
                    "{{Hostname}} GPU {{gpu}} XID": "DCGM_FI_DEV_XID_ERRORS",
                    "{{Hostname}} GPU {{gpu}} throttled s/s": "rate(DCGM_FI_DEV_THERMAL_VIOLATION[5m]) / 1e9",
                },
                "Last XID error, and time during which heat lowered the clock.",
            ),
        ),
        collapsed=True,
    )
