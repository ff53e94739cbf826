"""Small services to guard, each healthy and each with one plausible leak."""
