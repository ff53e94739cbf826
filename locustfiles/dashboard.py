"""Viewers of a dashboard: both streams, each of which is read for a while and closed.

locust -f locustfiles/dashboard.py --host http://127.0.0.1:8000        (SSE_PATHS="/a /b" for other streams)
"""

import os

from locust import between, task

import harness.swarm.web  # noqa: F401 - adds the Target tab to Locust's web UI
from harness.swarm import SseUser

DASHBOARD, STATUS = os.environ.get("SSE_PATHS", "/dashboard/sse /system/status/sse").split()


class Viewer(SseUser):
    wait_time = between(0.1, 1)

    @task(2)
    def dashboard(self):
        self.watch(DASHBOARD, events=3)

    @task(1)
    def status(self):
        self.watch(STATUS, events=5)

    def watch(self, path, events):
        with self.sse(path) as stream:
            for count, _event in enumerate(stream, start=1):
                if count == events:
                    break
