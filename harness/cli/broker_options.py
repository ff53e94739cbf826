"""The options of the fake broker, for guard and soak."""

from __future__ import annotations

import click

from fake_broker.dialects import DIALECTS

BROKER = (
    click.option("--with-broker", is_flag=True, help="Start a fake broker; {broker} is its endpoint."),
    click.option("--broker-dialect", type=click.Choice(list(DIALECTS)), default="plantd", show_default=True,
                 help="Majordomo dialect of that broker."),
    click.option("--broker-service", "broker_services", multiple=True, metavar="NAME",
                 help="A service that the broker answers for. Repeatable [default: state, identity, app]."),
    click.option("--broker-fault", "broker_faults", multiple=True, metavar="NAME[,KEY=VALUE…]",
                 help="A fault that is active from the start, such as silence,after=5. Repeatable; "
            "`fake-broker --list-faults` "
                 "lists them."),
)  # fmt: skip
