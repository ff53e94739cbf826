"""Broker misbehaviour, one fault per module."""
