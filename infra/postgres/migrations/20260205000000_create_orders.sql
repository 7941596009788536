-- What customers are to pay for, and what payment providers told us. Money itself is in the ledger.
CREATE TABLE orders (
    id            text PRIMARY KEY CHECK (id ~ '^ord_[0-9a-z]{24}$'),
    project_id    text NOT NULL REFERENCES projects (id),
    provider      text NOT NULL CHECK (provider IN ('manual', 'stripe')),
    kind          text NOT NULL CHECK (kind IN ('topup')),
    amount_nano   bigint NOT NULL CHECK (amount_nano > 0),
    state         text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'paid', 'failed')),
    -- The operator's own name of the payment.
    reference     text CHECK (char_length(reference) BETWEEN 1 AND 128),
    -- The provider's names of the checkout and of the payment.
    checkout_id   text,
    payment_id    text,
    ledger_tx_id  text,
    created_by    text,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    paid_at       timestamptz,
    CHECK ((state = 'paid') = (paid_at IS NOT NULL)),
    CHECK ((state = 'paid') = (ledger_tx_id IS NOT NULL)),
    CHECK ((state = 'paid') = (payment_id IS NOT NULL)),
    UNIQUE (provider, reference),
    UNIQUE (provider, payment_id)
);

CREATE INDEX orders_by_project ON orders (project_id, created_at, id);

ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON orders FOR ALL TO xerotier_tenant
    USING (project_id = current_setting('xerotier.project', true)) WITH CHECK (project_id = current_setting('xerotier.project', true));
GRANT SELECT ON orders TO xerotier_tenant;
GRANT SELECT, INSERT, UPDATE ON orders TO xerotier_system;

-- What a provider calls the project.
CREATE TABLE provider_customers (
    project_id   text NOT NULL REFERENCES projects (id),
    provider     text NOT NULL,
    customer_id  text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, provider)
);

ALTER TABLE provider_customers ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON provider_customers FOR ALL TO xerotier_tenant
    USING (project_id = current_setting('xerotier.project', true)) WITH CHECK (project_id = current_setting('xerotier.project', true));
GRANT SELECT, INSERT ON provider_customers TO xerotier_system;

-- Each callback, once. Not its body, which holds what is private to customers.
CREATE TABLE provider_events (
    provider     text NOT NULL,
    id           text NOT NULL,
    type         text NOT NULL,
    outcome      text,
    received_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (provider, id)
);

GRANT SELECT, INSERT, UPDATE ON provider_events TO xerotier_system;
