"""Money, read from the database as an auditor would."""

import time

from .stack import ROOT
from .tenants import run
from .usage import UsageRows

HOLD_SECONDS = 60
DEMO_TOKEN = 1_000  # nano-USD for a token in the tier `demo`


class LedgerRows:
    def __init__(self, usage: UsageRows):
        self.query = usage.query

    def balances(self, project_id: str) -> dict:
        rows = self.query("SELECT kind, balance_nano FROM ledger_accounts WHERE project_id = %s", project_id)
        return {row["kind"]: row["balance_nano"] for row in rows}

    def money(self, project_id: str) -> int:
        """All that a project has, whether it is held or not."""
        return sum(self.balances(project_id).values())

    def available(self, project_id: str) -> int:
        balances = self.balances(project_id)
        return balances["cash"] + balances["promo"]

    def paid_in(self, project_id: str) -> int:
        """What top-ups and grants brought."""
        return int(self.query(
            "SELECT coalesce(sum(e.amount_nano), 0) AS sum FROM ledger_entries e JOIN ledger_transactions t ON t.id = e.tx_id "
            "JOIN ledger_accounts a ON a.id = e.account_id WHERE a.project_id = %s AND t.kind IN ('topup', 'grant')", project_id)[0]["sum"])

    def settled(self, project_id: str) -> list:
        """The request id and the amount of each settlement."""
        return self.query(
            "SELECT substr(t.idempotency_key, 8) AS request_id, -sum(e.amount_nano)::bigint AS nano FROM ledger_transactions t "
            "JOIN ledger_entries e ON e.tx_id = t.id JOIN ledger_accounts a ON a.id = e.account_id "
            "WHERE t.project_id = %s AND t.kind = 'settle' AND a.project_id = t.project_id GROUP BY t.id", project_id)

    def written_off(self, project_id: str) -> int:
        return -int(self.query(
            "SELECT coalesce(sum(e.amount_nano), 0) AS sum FROM ledger_entries e JOIN ledger_transactions t ON t.id = e.tx_id "
            "JOIN ledger_accounts a ON a.id = e.account_id WHERE t.project_id = %s AND t.kind = 'settle' AND a.kind = 'write_off'", project_id)[0]["sum"])

    def open_holds(self, project_id: str) -> list:
        return self.query("SELECT * FROM ledger_holds WHERE project_id = %s AND state = 'open'", project_id)

    def wait_until_nothing_is_held(self, project_id: str):
        """Holds of processes that are gone expire after 60 s; each ends within its time."""
        deadline = time.monotonic() + HOLD_SECONDS + 10
        while self.open_holds(project_id):
            assert time.monotonic() < deadline, f"still held: {self.open_holds(project_id)}"
            time.sleep(1)
            sweep()

    def sum_of_all_postings(self) -> int:
        return int(self.query("SELECT coalesce(sum(amount_nano), 0) AS sum FROM ledger_entries")[0]["sum"])

    def check(self, project_id: str, rows: list):
        """Each row that costs something has one settlement of that amount, and nothing else was taken."""
        costs = {row["request_id"]: row["cost_nano"] for row in rows if row["cost_nano"] > 0}
        settled = self.settled(project_id)
        assert len(settled) == len({each["request_id"] for each in settled}), "a request was settled twice"
        assert {each["request_id"]: each["nano"] for each in settled} == costs
        assert min(self.balances(project_id).values()) >= 0
        assert self.paid_in(project_id) - self.money(project_id) == sum(costs.values())
        assert self.sum_of_all_postings() == 0


def sweep():
    """What the sweeper does every minute: expired holds go back."""
    run(ROOT / ".build" / "release" / "sweeper", "--once")


def dollars(nano: int) -> str:
    whole, rest = divmod(nano, 1_000_000_000)
    return f"{whole}.{rest:09}"
