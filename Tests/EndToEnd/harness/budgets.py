"""Budgets of a project, by the API."""

from .calls import Caller
from .tenants import Project

CENT = 10_000_000  # nano-USD
BUDGETS = "/v1/billing/budgets"


class Budgets:
    def __init__(self, origin: str, project: Project):
        self.caller = Caller(origin, project.key("management").key)

    def create(self, cents: int, **values) -> dict:
        answer = self.caller.send("POST", BUDGETS, {"name": "spend", "budget_amount": cents, **values})
        assert answer.status_code == 201, answer.text
        return answer.json()

    def cap(self, cents: int, **values) -> dict:
        return self.create(cents, hard_cap=True, **values)

    def get(self, budget: dict) -> dict:
        return self.caller.get(f"{BUDGETS}/{budget['id']}").json()

    def replace(self, budget: dict, **values) -> dict:
        answer = self.caller.send("PUT", f"{BUDGETS}/{budget['id']}", {**budget, **values})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def delete(self, budget: dict):
        answer = self.caller.call("DELETE", f"{BUDGETS}/{budget['id']}")
        assert answer.json() == {"id": budget["id"], "object": "budget.deleted", "deleted": True}

    def history(self, budget: dict, **query) -> list:
        return self.caller.get(f"{BUDGETS}/{budget['id']}/history", params=query).json()["data"]


def scopes(tenant) -> dict:
    """A budget's scope by what it is narrowed to."""
    return {
        "project": {},
        "endpoint": {"endpoint_ids": [tenant.endpoint.id]},
        "key": {"api_key_ids": [tenant.key.id]},
        "both": {"endpoint_ids": [tenant.endpoint.id], "api_key_ids": [tenant.key.id]},
    }
