"""Usage rows, read from the database as an auditor would."""

import time

import psycopg
from psycopg.rows import dict_row

COLUMNS = """id project_id endpoint_id endpoint_slug model_id model_name model_version api_key_id user_id request_id surface
service_tier tier worker_id is_xim is_stream input_tokens output_tokens cached_tokens reasoning_tokens cost_nano
price_nano_per_mtok multiplier_bp status_code error_code fault finish_reason cut_by_client ttft_ms latency_ms queue_ms
router_us retries region ledger_tx_id created_at""".split()


class UsageRows:
    def __init__(self, database_url: str):
        self.database_url = database_url
        self.connection = None

    def query(self, sql: str, *values) -> list:
        for attempt in (1, 2):
            try:
                if self.connection is None:
                    self.connection = psycopg.connect(self.database_url, autocommit=True, row_factory=dict_row)
                return self.connection.execute(sql, values).fetchall()
            except psycopg.OperationalError:
                self.connection = None
                if attempt == 2:
                    raise

    def of(self, request_id: str) -> list:
        return self.query("SELECT * FROM usage_events WHERE request_id = %s", request_id)

    def one(self, request_id: str, seconds: float = 0) -> dict:
        """The one row of this request. Rows of answered requests are there at once; others may take `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            rows = self.of(request_id)
            if rows or time.monotonic() >= deadline:
                assert len(rows) == 1, f"{len(rows)} usage rows of {request_id}"
                return rows[0]
            time.sleep(0.02)

    def none(self, request_id: str):
        assert self.of(request_id) == []

    def of_project(self, project_id: str) -> list:
        return self.query("SELECT * FROM usage_events WHERE project_id = %s ORDER BY created_at", project_id)
