from harness.core.budget import Budget as Budget
from harness.core.errors import ConfigError as ConfigError
from harness.core.errors import HarnessError as HarnessError
from harness.core.verdict import Bound as Bound
from harness.core.verdict import Crash as Crash
from harness.core.verdict import Exhaustion as Exhaustion
from harness.core.verdict import Finding as Finding
from harness.core.verdict import Outcome as Outcome
from harness.core.verdict import Rate as Rate
from harness.core.verdict import Verdict as Verdict

__version__: str
__all__ = [
    "Bound",
    "Budget",
    "ConfigError",
    "Crash",
    "Exhaustion",
    "Finding",
    "HarnessError",
    "Outcome",
    "Rate",
    "Verdict",
    "__version__",
]
