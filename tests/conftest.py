import sys
from pathlib import Path

# Helpers of one test folder are used by others: 'world', 'run.test_drive'.
sys.path.insert(0, str(Path(__file__).parent))
