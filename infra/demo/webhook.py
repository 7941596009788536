#!/usr/bin/env python3
"""Shows a webhook: a receiver on this machine, the call that the platform makes to it, and two libraries of others verifying the signature."""

import http.server
import os
import threading

import environment

# What the development stack opens for receivers on this machine.
ADDRESS = "127.0.0.2"


class Receiver(http.server.BaseHTTPRequestHandler):
    calls: list = []

    def do_POST(self):
        Receiver.calls.append((self.rfile.read(int(self.headers["content-length"])), {name.lower(): value for name, value in self.headers.items()}))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def main() -> None:
    demo = environment.read(environment.DEMO)
    port = int(environment.read(environment.STACK)["XEROTIER_EGRESS_PORTS"].split(",")[0])
    # The SDK's HTTP client takes its authorities from here when it is made.
    os.environ["SSL_CERT_FILE"] = demo["XEROTIER_CA_FILE"]
    import openai
    import standardwebhooks

    server = http.server.ThreadingHTTPServer((ADDRESS, port), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = openai.OpenAI(base_url=demo["XEROTIER_BASE_URL"], api_key=demo["XEROTIER_ADMIN_KEY"], max_retries=0)
    try:
        webhook = client.webhooks.create(name="demo", url=f"http://{ADDRESS}:{port}/", event_types=["batch.completed"])
        try:
            tested = client.webhooks.test(webhook.id, event_type="batch.completed")
            if not Receiver.calls:
                raise SystemExit(f"no call came to {webhook.url}: {tested}")
            body, headers = Receiver.calls[0]
            event = openai.OpenAI(api_key="-", webhook_secret=webhook.signing_secret).webhooks.unwrap(body, headers)
            standardwebhooks.Webhook(webhook.signing_secret).verify(body, headers)
        finally:
            client.webhooks.delete(webhook.id)
    except openai.APIError as error:
        raise SystemExit(f"the demonstration failed: {error}; see {environment.ROOT / '.run' / 'log'}") from None
    finally:
        server.shutdown()
    print(f"{event.type} ({event.id}) came to {webhook.url}; the openai SDK and standardwebhooks find its signature good")


if __name__ == "__main__":
    main()
