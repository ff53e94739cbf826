"""Thread.print becomes places: the line of the service, and where it waits."""

from __future__ import annotations

import pytest

from harness.runtime.jvm import JvmCounters, stack_growth

PRINTED = """\
"forgotten" #31 daemon prio=5 os_prio=0 tid=0x1 nid=0x2 waiting on condition  [0x3]
   java.lang.Thread.State: TIMED_WAITING (sleeping)
\tat java.lang.Thread.sleep(java.base@17.0.15/Native Method)
\tat Orders.forgotten(Orders.java:18)
\tat Orders$$Lambda$14/0x0000000800c00a00.run(Unknown Source)
\tat java.lang.Thread.run(java.base@17.0.15/Thread.java:840)

"spinning" #32 prio=5 os_prio=0 tid=0x1 nid=0x2 runnable  [0x3]
   java.lang.Thread.State: RUNNABLE
\tat Orders.spin(Orders.java:40)
\tat java.lang.Thread.run(java.base@17.0.15/Thread.java:840)

"pool-1-thread-1" #33 prio=5 os_prio=0 tid=0x1 nid=0x2 waiting on condition  [0x3]
   java.lang.Thread.State: WAITING (parking)
\tat jdk.internal.misc.Unsafe.park(java.base@17.0.15/Native Method)
\tat java.util.concurrent.LinkedBlockingQueue.take(java.base@17.0.15/LinkedBlockingQueue.java:433)
\tat java.lang.invoke.LambdaForm$DMH/0x0000000800c03000.invokeStatic(java.base@17.0.15/LambdaForm$DMH)
\tat java.util.concurrent.Executors$$Lambda$3/0x0000000800c00b00.run(java.base@17.0.15/Unknown Source)
\tat java.lang.Thread.run(java.base@17.0.15/Thread.java:840)
"""


def test_a_thread_is_placed_at_the_services_line_with_what_it_waits_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = JvmCounters(1)
    monkeypatch.setattr(reader, "_run", lambda *_: PRINTED)
    stacks = {stack: 30 * count for stack, count in reader._stacks(1).items()}
    assert {one.site: one.own for one in stack_growth({}, stacks, 30)} == {
        "Orders.java:18 in Orders.forgotten (waiting in java.lang.Thread.sleep)": True,
        "Orders.java:40 in Orders.spin": True,
        "Native Method in jdk.internal.misc.Unsafe.park (threads named pool-N-thread-N)": False,
    }
