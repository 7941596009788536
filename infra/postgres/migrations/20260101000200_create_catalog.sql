-- What requests are routed by: tiers, models and endpoints.

CREATE TABLE service_tiers (
    slug                   text PRIMARY KEY CHECK (slug ~ '^[a-z][a-z0-9_]{0,47}$'),
    price_nano_per_mtok    bigint NOT NULL CHECK (price_nano_per_mtok >= 0),
    node_price_nano_per_730h bigint NOT NULL DEFAULT 0 CHECK (node_price_nano_per_730h >= 0),
    -- NULL = unlimited
    tokens_per_minute      integer CHECK (tokens_per_minute > 0),
    requests_per_minute    integer CHECK (requests_per_minute > 0),
    burst_floor            integer NOT NULL CHECK (burst_floor >= 0),
    request_timeout_s      integer NOT NULL CHECK (request_timeout_s > 0),
    idle_stream_s          integer NOT NULL CHECK (idle_stream_s > 0),
    concurrent             integer NOT NULL CHECK (concurrent > 0),
    queue_wait_s           integer NOT NULL CHECK (queue_wait_s >= 0),
    -- 0 = no Batch API
    batch_width            integer NOT NULL CHECK (batch_width >= 0),
    max_model_bytes        bigint CHECK (max_model_bytes > 0),
    max_endpoints          integer NOT NULL CHECK (max_endpoints > 0),
    max_models             integer CHECK (max_models > 0),
    tokens_per_month       bigint CHECK (tokens_per_month > 0),
    priority               integer NOT NULL,
    is_preemptable         boolean NOT NULL DEFAULT false,
    hot_retention_s        integer NOT NULL CHECK (hot_retention_s >= 0),
    cold_retention_s       integer NOT NULL CHECK (cold_retention_s >= 0),
    updated_at             timestamptz NOT NULL DEFAULT now()
);

INSERT INTO service_tiers (
    slug, price_nano_per_mtok, node_price_nano_per_730h, tokens_per_minute, requests_per_minute, burst_floor, request_timeout_s,
    idle_stream_s, concurrent, queue_wait_s, batch_width, max_model_bytes, max_endpoints, max_models, tokens_per_month, priority,
    is_preemptable, hot_retention_s, cold_retention_s)
VALUES
    ('free', 0, 0, 10000, 64, 3, 30, 120, 5, 5, 0, 48000000000, 2, 2, 100000, 10, true, 3600, 86400),
    ('cpu_amd_optimized', 500000000, 0, 100000, 128, 10, 300, 600, 20, 10, 8, NULL, 100, NULL, NULL, 20, false, 18000, 604800),
    ('cpu_intel_optimized', 500000000, 0, 100000, 128, 10, 300, 600, 20, 10, 8, NULL, 100, NULL, NULL, 20, false, 18000, 604800),
    ('gpu_nvidia_shared', 1250000000, 0, 500000, 256, 10, 300, 600, 50, 10, 16, NULL, 100, NULL, NULL, 25, false, 25200, 604800),
    ('gpu_amd_shared', 1000000000, 0, 500000, 256, 10, 300, 600, 50, 10, 16, NULL, 100, NULL, NULL, 25, false, 25200, 604800),
    ('gpu_intel_shared', 1000000000, 0, 500000, 256, 10, 300, 600, 50, 10, 16, NULL, 100, NULL, NULL, 25, false, 25200, 604800),
    ('self_hosted', 0, 20000000000, NULL, NULL, 0, 1800, 3600, 100, 30, 64, 512000000000, 100, NULL, NULL, 30, false, 172800, 1209600),
    ('demo', 1000000000, 0, NULL, NULL, 10, 300, 600, 4096, 60, 64, NULL, 100, NULL, NULL, 25, false, 25200, 604800);

CREATE TABLE models (
    id               text PRIMARY KEY CHECK (id ~ '^mdl_[0-9a-z]{24}$'),
    project_id       text NOT NULL REFERENCES projects (id),
    name             text NOT NULL CHECK (name ~ '^[A-Za-z0-9._/-]{1,128}$'),
    description      text NOT NULL DEFAULT '',
    format           text CHECK (format IN ('safetensors', 'gguf', 'bin', 'exl2')),
    bytes            bigint,
    file_count       integer,
    sha256           text,
    status           text NOT NULL CHECK (status IN ('pending', 'processing', 'preflight', 'ready', 'failed', 'retired', 'deleted')),
    status_detail    text,
    architecture     text,
    family           text,
    parameters       bigint,
    context_length   integer CHECK (context_length > 0),
    quantization     text,
    dtype            text,
    license          text,
    tags             text[] NOT NULL DEFAULT '{}',
    workload_type    text,
    capabilities     text[] NOT NULL DEFAULT '{}',
    task_modes       text[] NOT NULL DEFAULT '{generate}',
    version          text NOT NULL DEFAULT '1',
    versions_count   integer NOT NULL DEFAULT 1,
    visibility       text NOT NULL DEFAULT 'private' CHECK (visibility IN ('private', 'public')),
    catalog_role     text CHECK (catalog_role IN ('deployable', 'shared')),
    source           text NOT NULL CHECK (source IN ('upload', 'http_upstream', 'catalog')),
    preflight        jsonb NOT NULL DEFAULT '{}',
    pinned           boolean NOT NULL DEFAULT false,
    created_by       text,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    retired_at       timestamptz,
    deleted_at       timestamptz
);

CREATE UNIQUE INDEX models_by_name ON models (project_id, name) WHERE deleted_at IS NULL;

CREATE TABLE endpoints (
    id                       text PRIMARY KEY CHECK (id ~ '^ep_[0-9a-z]{24}$'),
    project_id               text NOT NULL REFERENCES projects (id),
    slug                     text NOT NULL CHECK (slug ~ '^[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?$'),
    -- Further names under which the flat form finds the endpoint.
    aliases                  text[] NOT NULL DEFAULT '{}',
    name                     text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 128),
    description              text NOT NULL DEFAULT '' CHECK (char_length(description) <= 512),
    model_id                 text NOT NULL REFERENCES models (id),
    model_version            text NOT NULL DEFAULT 'latest',
    active_version           text,
    tier                     text NOT NULL REFERENCES service_tiers (slug),
    task_mode                text NOT NULL DEFAULT 'generate' CHECK (task_mode IN ('generate', 'embed', 'score')),
    status                   text NOT NULL CHECK (status IN (
                                 'provisioning', 'active', 'degraded', 'inactive', 'failed', 'deleting', 'deleted')),
    status_detail            text,
    -- Counts the changes; a request sees one generation.
    generation               bigint NOT NULL DEFAULT 1,
    -- The HTTP upstream; no URLs = none.
    upstream_urls            text[] NOT NULL DEFAULT '{}' CHECK (cardinality(upstream_urls) <= 16),
    upstream_model           text,
    upstream_api             text NOT NULL DEFAULT 'openai' CHECK (upstream_api = 'openai'),
    -- Sealed for the project, kind upstream-key.
    upstream_api_key         bytea,
    upstream_timeout_ms      integer NOT NULL DEFAULT 300000 CHECK (upstream_timeout_ms > 0),
    upstream_health_path     text NOT NULL DEFAULT '/v1/models' CHECK (upstream_health_path LIKE '/%'),
    upstream_headers         jsonb NOT NULL DEFAULT '{}',
    upstream_max_concurrent  integer NOT NULL DEFAULT 32 CHECK (upstream_max_concurrent > 0),
    placement                jsonb NOT NULL DEFAULT '{"agents": [], "regions": [], "allow_shared_fallback": false}',
    tools                    jsonb NOT NULL DEFAULT '{}',
    limits                   jsonb NOT NULL DEFAULT '{}',
    defaults                 jsonb NOT NULL DEFAULT '{}',
    retention                jsonb NOT NULL DEFAULT '{"store": true, "days": null}',
    memory                   jsonb NOT NULL DEFAULT '{"mode": null, "workspace_id": null}',
    prefix_cache             boolean NOT NULL DEFAULT true,
    migrate                  boolean NOT NULL DEFAULT false,
    context_length           integer CHECK (context_length > 0),
    quantization             jsonb,
    speculative              jsonb,
    kv_cache                 jsonb,
    cors                     jsonb NOT NULL DEFAULT '{"allow_origins": ["*"], "allow_methods": ["GET", "POST", "OPTIONS"], "allow_headers": ["Content-Type", "Authorization"], "max_age": 86400, "allow_credentials": false}',
    visibility               text NOT NULL DEFAULT 'project' CHECK (visibility IN ('project', 'public_key')),
    metadata                 jsonb NOT NULL DEFAULT '{}',
    created_by               text,
    created_at               timestamptz NOT NULL DEFAULT now(),
    updated_at               timestamptz NOT NULL DEFAULT now(),
    last_request_at          timestamptz,
    deleted_at               timestamptz
);

CREATE UNIQUE INDEX endpoints_by_slug ON endpoints (project_id, slug) WHERE deleted_at IS NULL;
CREATE INDEX endpoints_by_model ON endpoints (model_id) WHERE deleted_at IS NULL;
