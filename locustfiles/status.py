"""Wallboards: one stream each, never left.

locust -f locustfiles/status.py --host http://127.0.0.1:8000
"""

from locust import constant, task

import harness.swarm.web  # noqa: F401 - adds the Target tab to Locust's web UI
from harness.swarm.user import SseUser


class Wallboard(SseUser):
    wait_time = constant(1)

    @task
    def status(self):
        with self.sse("/system/status/sse") as stream:
            for _event in stream:
                pass
