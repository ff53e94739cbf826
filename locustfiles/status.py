"""Wallboards: one stream each, which the client never closes.

locust -f locustfiles/status.py --host http://127.0.0.1:8000        (SSE_PATH=/events for another stream)
"""

import os

from locust import constant, task

import harness.swarm.web  # noqa: F401 - adds the Target tab to Locust's web UI
from harness.swarm import SseUser

PATH = os.environ.get("SSE_PATH", "/system/status/sse")


class Wallboard(SseUser):
    wait_time = constant(1)

    @task
    def status(self):
        with self.sse(PATH) as stream:
            for _event in stream:
                pass
