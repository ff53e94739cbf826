"""Checks the options of a guard before anything is started: each error names the option and what was expected."""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path
from urllib.parse import urlsplit

from harness.core.cycle import DISCONNECT_MODES
from harness.core.errors import OptionError
from harness.core.expected import statuses
from harness.experiment.options import GuardRequest, JudgementOptions, ServiceOptions, check_amounts
from harness.experiment.remote_target import probe_argv
from harness.http.endpoint import Endpoint
from harness.http.request import Request
from harness.http.tls import tls_context
from harness.swarm.launch import secret_for
from harness.swarm.load import LoadOptions
from harness.target.attach import AttachedTarget
from harness.target.ready import check_url
from harness.target.spawn import fill_port


def check_request(request: GuardRequest) -> None:
    """Raise ConfigError for a value that is invalid, or for options that contradict each other."""
    service, load = request.service, request.load
    _check_urls(service)
    _check_load(load, service.urls[0])
    check_amounts(request)
    _check_workers(load)
    _check_process(service)
    _check_judgement(request.judgement)


def _check_urls(service: ServiceOptions) -> None:
    urls = service.urls
    if not urls:
        raise OptionError("url", None, "none given; expected http://127.0.0.1:{port}/PATH")
    for url in urls:
        check_url(fill_port(url, 1), written=url)
        if _host(url) != _host(urls[0]):
            raise OptionError(
                "url", url, f"another host or port than {urls[0]!r}; one guard loads one service"
            )
        if "{port}" in url and not service.command:
            raise OptionError("url", url, "{port} needs a command to give the port to; expected `command`")
    for name, more in (("ready", service.ready), ("pprof", service.pprof)):
        if more is not None and check_url(fill_port(more, 1), name, more).unix and name == "pprof":
            raise OptionError(name, more, "a Unix socket; expected a TCP address of pprof pages")


def _host(url: str) -> str:
    return urlsplit(fill_port(url, 0)).netloc  # 0: a port that no URL may name


def _check_load(load: LoadOptions, url: str) -> None:
    # The swarm would refuse this only after the service has started.
    Request(Endpoint.parse(fill_port(url, 1)), load.method, load.headers, load.body)
    if load.ca is not None:
        tls_context(insecure=load.insecure, ca=load.ca)
    statuses(load.expect)
    if not 0 <= load.invalid_share < 1:
        raise OptionError(
            "invalid_share", load.invalid_share, "expected a share from 0 to below 1, such as 0.2"
        )
    if load.disconnect not in (*DISCONNECT_MODES, "mixed"):
        modes = ", ".join(DISCONNECT_MODES)
        raise OptionError("disconnect", load.disconnect, f"expected mixed or one of {modes}")
    if load.keep_alive and load.mode != "request":
        raise OptionError(
            "keep_alive", True, "streams cannot share a connection; expected `mode` request as well"
        )
    if load.locustfile is not None:
        _check_locustfile(load, load.locustfile)


def _check_locustfile(load: LoadOptions, locustfile: Path) -> None:
    if load.expect or load.invalid_share or load.clients:
        raise OptionError(
            "locustfile",
            locustfile,
            "its users make their own requests; expected none of `expect`, `invalid_share` and `clients`",
        )
    if not locustfile.is_file():
        what = "not a regular file" if locustfile.exists() else "no such file"
        raise OptionError("locustfile", locustfile, f"{what}; expected a locustfile")


def _check_workers(load: LoadOptions) -> None:
    """Raise ConfigError for workers that could not join."""
    if load.locustfile is not None and load.processes != 1:
        raise OptionError("processes", load.processes, "expected 1 with a `locustfile`")
    if not load.remote_workers:
        if load.bind:
            raise OptionError("bind", load.bind, "no worker joins there; expected `remote_workers` as well")
        if not load.processes:
            raise OptionError("processes", 0, "expected at least 1 without `remote_workers`")
        return
    if load.locustfile is not None:
        raise OptionError(
            "remote_workers",
            load.remote_workers,
            "cannot be used with a `locustfile`, which Locust's own master and workers distribute",
        )
    host, _, port = load.bind.rpartition(":")
    if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise OptionError(
            "bind",
            load.bind,
            "expected HOST:PORT with the address of this machine at which the `remote_workers` join, such as "
            "10.1.0.1:5557",
        )
    secret_for(load)


def _check_process(service: ServiceOptions) -> None:
    """Raise ConfigError unless `command`, `pid` or `probe_command` names a service that can be started or found."""
    if service.probe_command is not None:
        probe_argv(service.probe_command)
        if service.pid:
            raise OptionError(
                "pid", service.pid, "cannot be used with `probe_command`, which names the process itself"
            )
    if service.command and service.pid:
        raise OptionError(
            "pid",
            service.pid,
            "cannot be used with a `command`, which starts the service; expected one of them",
        )
    if service.pid:
        # Raises an error for a process that does not exist; ``stop`` only closes the descriptor.
        AttachedTarget(service.pid).stop()
    if not (service.command or service.pid or service.probe_command):
        raise OptionError(
            "command", None, "no service given; expected one of `command`, `pid` and `probe_command`"
        )
    if service.command:
        _check_command(service, service.command[0])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if service.nofile is not None and resource.RLIM_INFINITY != hard < service.nofile:
        raise OptionError("nofile", service.nofile, f"above the hard limit of {hard}; expected at most that")


def _check_command(service: ServiceOptions, program: str) -> None:
    """Raise ConfigError for a command that does not exist, before anything is started."""
    name = fill_port(program, 1)
    path = (os.environ if service.env is None else service.env).get("PATH")
    # A relative path belongs to the directory of the service, which need not be that of the harness.
    there = name if "/" not in name else str(((service.cwd or Path()) / name).absolute())
    if shutil.which(there, path=path):
        return
    what = (
        "cannot be executed"
        if Path(there).exists()
        else "no such command" + ("" if "/" in name else " on PATH")
    )
    hint = "; pass the program and its arguments separately, not as one quoted string" if " " in name else ""
    raise OptionError(
        "command", program, f"{what}; expected the program that starts the service, and its arguments{hint}"
    )


def _check_judgement(judgement: JudgementOptions) -> None:
    if judgement.retention is not None and not 0 <= judgement.retention < float("inf"):
        raise OptionError("retention", judgement.retention, "expected a time from 0 on, such as 60s")
    for name, amount in (
        ("sensitivity", judgement.sensitivity),
        ("max_time", judgement.max_time),
        ("settle", judgement.settle),
    ):
        if not amount > 0:
            raise OptionError(name, amount, "expected a number above 0")
