"""Clients that connect, receive one event, and disconnect: a leak per connection shows fastest under this load.

locust -f locustfiles/churn.py --host http://127.0.0.1:8000        (SSE_PATH=/events for another stream)
"""

import os

from locust import constant, task

import harness.swarm.web  # noqa: F401 - adds the Target tab to Locust's web UI
from harness.swarm import SseUser

PATH = os.environ.get("SSE_PATH", "/dashboard/sse")


class ShortVisit(SseUser):
    wait_time = constant(0)

    @task
    def read_one_event(self):
        with self.sse(PATH) as stream:
            next(iter(stream), None)
