"""A Majordomo broker that answers, misbehaves on command and counts its peers."""
