#!/usr/bin/env python3
"""Shows a webhook: a receiver here, the call that the platform makes to it, and the official SDK verifying the signature."""

import http.server
import os
import threading

import environment

# What the development stack opens for receivers on this machine.
ADDRESS = "127.0.0.2"


class Receiver(http.server.BaseHTTPRequestHandler):
    calls: list = []

    def do_POST(self):
        Receiver.calls.append((self.rfile.read(int(self.headers["content-length"])), dict(self.headers)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def main() -> None:
    demo = environment.read(environment.DEMO)
    port = int(environment.read(environment.STACK)["XEROTIER_EGRESS_PORTS"].split(",")[0])
    os.environ["SSL_CERT_FILE"] = demo["XEROTIER_CA_FILE"]
    import openai

    server = http.server.ThreadingHTTPServer((ADDRESS, port), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = openai.OpenAI(base_url=demo["XEROTIER_BASE_URL"], api_key=demo["XEROTIER_ADMIN_KEY"], max_retries=0)
    webhook = client.webhooks.create(name="demo", url=f"http://{ADDRESS}:{port}/", event_types=["batch.completed"])
    try:
        tested = client.webhooks.test(webhook.id, event_type="batch.completed")
        body, headers = Receiver.calls[0]
        event = openai.OpenAI(api_key="-", webhook_secret=webhook.signing_secret).webhooks.unwrap(body, headers)
        print(f"{event.type} ({event.id}) came to {webhook.url}, was answered {tested.status_code}, and its signature is good")
    finally:
        client.webhooks.delete(webhook.id)
        server.shutdown()


if __name__ == "__main__":
    main()
