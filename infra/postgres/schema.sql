--
-- PostgreSQL database dump
--



SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: create_usage_partitions(timestamp with time zone, integer); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.create_usage_partitions(first timestamp with time zone, months integer) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    month timestamp;
    name text;
    begins timestamptz;
    ends timestamptz;
BEGIN
    FOR number IN 0..months LOOP
        month := date_trunc('month', first AT TIME ZONE 'UTC') + make_interval(months => number);
        name := 'usage_events_' || to_char(month, 'YYYY_MM');
        CONTINUE WHEN to_regclass(name) IS NOT NULL;
        begins := month AT TIME ZONE 'UTC';
        ends := (month + interval '1 month') AT TIME ZONE 'UTC';
        LOCK TABLE usage_events IN ACCESS EXCLUSIVE MODE;
        EXECUTE format('CREATE TABLE %I (LIKE usage_events INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'WITH moved AS (DELETE FROM usage_events_default WHERE created_at >= %L AND created_at < %L RETURNING *) INSERT INTO %I SELECT * FROM moved',
            begins, ends, name);
        EXECUTE format('ALTER TABLE usage_events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, begins, ends);
    END LOOP;
END
$$;


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: api_keys; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.api_keys (
    id text NOT NULL,
    project_id text NOT NULL,
    name text NOT NULL,
    prefix text NOT NULL,
    key_hash bytea NOT NULL,
    previous_key_hash bytea,
    grace_expires_at timestamp with time zone,
    scopes text[] NOT NULL,
    endpoint text,
    ip_filter jsonb,
    quota jsonb,
    is_service boolean DEFAULT false NOT NULL,
    is_active boolean DEFAULT true NOT NULL,
    created_by text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    last_used_at timestamp with time zone,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    CONSTRAINT api_keys_check CHECK (((previous_key_hash IS NULL) = (grace_expires_at IS NULL))),
    CONSTRAINT api_keys_check1 CHECK ((is_active = (revoked_at IS NULL))),
    CONSTRAINT api_keys_id_check CHECK ((id ~ '^key_[0-9a-z]{24}$'::text)),
    CONSTRAINT api_keys_key_hash_check CHECK ((octet_length(key_hash) = 32)),
    CONSTRAINT api_keys_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 64))),
    CONSTRAINT api_keys_previous_key_hash_check CHECK ((octet_length(previous_key_hash) = 32)),
    CONSTRAINT api_keys_scopes_check CHECK (((scopes <@ ARRAY['inference'::text, 'management'::text, 'execution'::text]) AND (cardinality(scopes) > 0)))
);


--
-- Name: data_keys; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.data_keys (
    id text NOT NULL,
    project_id text NOT NULL,
    wrapped_key bytea,
    master_key_id text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    rewrapped_at timestamp with time zone,
    retired_at timestamp with time zone,
    destroyed_at timestamp with time zone,
    CONSTRAINT data_keys_check CHECK (((wrapped_key IS NULL) = (destroyed_at IS NOT NULL))),
    CONSTRAINT data_keys_check1 CHECK (((destroyed_at IS NULL) OR (retired_at IS NOT NULL))),
    CONSTRAINT data_keys_id_check CHECK ((id ~ '^dk_[0-9a-z]{24}$'::text)),
    CONSTRAINT data_keys_master_key_id_check CHECK ((master_key_id ~ '^[0-9a-f]{16}$'::text)),
    CONSTRAINT data_keys_wrapped_key_check CHECK ((octet_length(wrapped_key) = 60))
);


--
-- Name: endpoints; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.endpoints (
    id text NOT NULL,
    project_id text NOT NULL,
    slug text NOT NULL,
    aliases text[] DEFAULT '{}'::text[] NOT NULL,
    name text NOT NULL,
    description text DEFAULT ''::text NOT NULL,
    model_id text NOT NULL,
    model_version text DEFAULT 'latest'::text NOT NULL,
    active_version text,
    tier text NOT NULL,
    task_mode text DEFAULT 'generate'::text NOT NULL,
    status text NOT NULL,
    status_detail text,
    generation bigint DEFAULT 1 NOT NULL,
    upstream_urls text[] DEFAULT '{}'::text[] NOT NULL,
    upstream_model text,
    upstream_api text DEFAULT 'openai'::text NOT NULL,
    upstream_api_key bytea,
    upstream_timeout_ms integer DEFAULT 300000 NOT NULL,
    upstream_health_path text DEFAULT '/v1/models'::text NOT NULL,
    upstream_headers jsonb DEFAULT '{}'::jsonb NOT NULL,
    upstream_max_concurrent integer DEFAULT 32 NOT NULL,
    placement jsonb DEFAULT '{"agents": [], "regions": [], "allow_shared_fallback": false}'::jsonb NOT NULL,
    tools jsonb DEFAULT '{}'::jsonb NOT NULL,
    limits jsonb DEFAULT '{}'::jsonb NOT NULL,
    defaults jsonb DEFAULT '{}'::jsonb NOT NULL,
    retention jsonb DEFAULT '{"days": null, "store": true}'::jsonb NOT NULL,
    memory jsonb DEFAULT '{"mode": null, "workspace_id": null}'::jsonb NOT NULL,
    prefix_cache boolean DEFAULT true NOT NULL,
    migrate boolean DEFAULT false NOT NULL,
    context_length integer,
    quantization jsonb,
    speculative jsonb,
    kv_cache jsonb,
    cors jsonb DEFAULT '{"max_age": 86400, "allow_headers": ["Content-Type", "Authorization"], "allow_methods": ["GET", "POST", "OPTIONS"], "allow_origins": ["*"], "allow_credentials": false}'::jsonb NOT NULL,
    visibility text DEFAULT 'project'::text NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_by text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    last_request_at timestamp with time zone,
    deleted_at timestamp with time zone,
    CONSTRAINT endpoints_context_length_check CHECK ((context_length > 0)),
    CONSTRAINT endpoints_description_check CHECK ((char_length(description) <= 512)),
    CONSTRAINT endpoints_id_check CHECK ((id ~ '^ep_[0-9a-z]{24}$'::text)),
    CONSTRAINT endpoints_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 128))),
    CONSTRAINT endpoints_slug_check CHECK ((slug ~ '^[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?$'::text)),
    CONSTRAINT endpoints_status_check CHECK ((status = ANY (ARRAY['provisioning'::text, 'active'::text, 'degraded'::text, 'inactive'::text, 'failed'::text, 'deleting'::text, 'deleted'::text]))),
    CONSTRAINT endpoints_task_mode_check CHECK ((task_mode = ANY (ARRAY['generate'::text, 'embed'::text, 'score'::text]))),
    CONSTRAINT endpoints_upstream_api_check CHECK ((upstream_api = 'openai'::text)),
    CONSTRAINT endpoints_upstream_health_path_check CHECK ((upstream_health_path ~~ '/%'::text)),
    CONSTRAINT endpoints_upstream_max_concurrent_check CHECK ((upstream_max_concurrent > 0)),
    CONSTRAINT endpoints_upstream_timeout_ms_check CHECK ((upstream_timeout_ms > 0)),
    CONSTRAINT endpoints_upstream_urls_check CHECK ((cardinality(upstream_urls) <= 16)),
    CONSTRAINT endpoints_visibility_check CHECK ((visibility = ANY (ARRAY['project'::text, 'public_key'::text])))
);


--
-- Name: models; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.models (
    id text NOT NULL,
    project_id text NOT NULL,
    name text NOT NULL,
    description text DEFAULT ''::text NOT NULL,
    format text,
    bytes bigint,
    file_count integer,
    sha256 text,
    status text NOT NULL,
    status_detail text,
    architecture text,
    family text,
    parameters bigint,
    context_length integer,
    quantization text,
    dtype text,
    license text,
    tags text[] DEFAULT '{}'::text[] NOT NULL,
    workload_type text,
    capabilities text[] DEFAULT '{}'::text[] NOT NULL,
    task_modes text[] DEFAULT '{generate}'::text[] NOT NULL,
    version text DEFAULT '1'::text NOT NULL,
    versions_count integer DEFAULT 1 NOT NULL,
    visibility text DEFAULT 'private'::text NOT NULL,
    catalog_role text,
    source text NOT NULL,
    preflight jsonb DEFAULT '{}'::jsonb NOT NULL,
    pinned boolean DEFAULT false NOT NULL,
    created_by text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    retired_at timestamp with time zone,
    deleted_at timestamp with time zone,
    CONSTRAINT models_catalog_role_check CHECK ((catalog_role = ANY (ARRAY['deployable'::text, 'shared'::text]))),
    CONSTRAINT models_context_length_check CHECK ((context_length > 0)),
    CONSTRAINT models_format_check CHECK ((format = ANY (ARRAY['safetensors'::text, 'gguf'::text, 'bin'::text, 'exl2'::text]))),
    CONSTRAINT models_id_check CHECK ((id ~ '^mdl_[0-9a-z]{24}$'::text)),
    CONSTRAINT models_name_check CHECK ((name ~ '^[A-Za-z0-9._/-]{1,128}$'::text)),
    CONSTRAINT models_source_check CHECK ((source = ANY (ARRAY['upload'::text, 'http_upstream'::text, 'catalog'::text]))),
    CONSTRAINT models_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'processing'::text, 'preflight'::text, 'ready'::text, 'failed'::text, 'retired'::text, 'deleted'::text]))),
    CONSTRAINT models_visibility_check CHECK ((visibility = ANY (ARRAY['private'::text, 'public'::text])))
);


--
-- Name: projects; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.projects (
    id text NOT NULL,
    slug text NOT NULL,
    name text NOT NULL,
    status text DEFAULT 'active'::text NOT NULL,
    settings jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    CONSTRAINT projects_id_check CHECK ((id ~ '^proj_[0-9a-z]{24}$'::text)),
    CONSTRAINT projects_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 128))),
    CONSTRAINT projects_slug_check CHECK ((slug ~ '^[a-z][a-z0-9-]{0,38}[a-z0-9]$'::text)),
    CONSTRAINT projects_status_check CHECK ((status = ANY (ARRAY['active'::text, 'suspended'::text, 'deleted'::text])))
);


--
-- Name: schema_migrations; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.schema_migrations (
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: service_tiers; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.service_tiers (
    slug text NOT NULL,
    price_nano_per_mtok bigint NOT NULL,
    node_price_nano_per_730h bigint DEFAULT 0 NOT NULL,
    tokens_per_minute integer,
    requests_per_minute integer,
    burst_floor integer NOT NULL,
    request_timeout_s integer NOT NULL,
    idle_stream_s integer NOT NULL,
    concurrent integer NOT NULL,
    queue_wait_s integer NOT NULL,
    batch_width integer NOT NULL,
    max_model_bytes bigint,
    max_endpoints integer NOT NULL,
    max_models integer,
    tokens_per_month bigint,
    priority integer NOT NULL,
    is_preemptable boolean DEFAULT false NOT NULL,
    hot_retention_s integer NOT NULL,
    cold_retention_s integer NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT service_tiers_batch_width_check CHECK ((batch_width >= 0)),
    CONSTRAINT service_tiers_burst_floor_check CHECK ((burst_floor >= 0)),
    CONSTRAINT service_tiers_cold_retention_s_check CHECK ((cold_retention_s >= 0)),
    CONSTRAINT service_tiers_concurrent_check CHECK ((concurrent > 0)),
    CONSTRAINT service_tiers_hot_retention_s_check CHECK ((hot_retention_s >= 0)),
    CONSTRAINT service_tiers_idle_stream_s_check CHECK ((idle_stream_s > 0)),
    CONSTRAINT service_tiers_max_endpoints_check CHECK ((max_endpoints > 0)),
    CONSTRAINT service_tiers_max_model_bytes_check CHECK ((max_model_bytes > 0)),
    CONSTRAINT service_tiers_max_models_check CHECK ((max_models > 0)),
    CONSTRAINT service_tiers_node_price_nano_per_730h_check CHECK ((node_price_nano_per_730h >= 0)),
    CONSTRAINT service_tiers_price_nano_per_mtok_check CHECK ((price_nano_per_mtok >= 0)),
    CONSTRAINT service_tiers_queue_wait_s_check CHECK ((queue_wait_s >= 0)),
    CONSTRAINT service_tiers_request_timeout_s_check CHECK ((request_timeout_s > 0)),
    CONSTRAINT service_tiers_requests_per_minute_check CHECK ((requests_per_minute > 0)),
    CONSTRAINT service_tiers_slug_check CHECK ((slug ~ '^[a-z][a-z0-9_]{0,47}$'::text)),
    CONSTRAINT service_tiers_tokens_per_minute_check CHECK ((tokens_per_minute > 0)),
    CONSTRAINT service_tiers_tokens_per_month_check CHECK ((tokens_per_month > 0))
);


--
-- Name: usage_events; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.usage_events (
    id text NOT NULL,
    project_id text NOT NULL,
    endpoint_id text,
    endpoint_slug text,
    model_id text,
    model_name text,
    model_version text,
    api_key_id text,
    user_id text,
    request_id text NOT NULL,
    surface text NOT NULL,
    service_tier text NOT NULL,
    tier text NOT NULL,
    worker_id text,
    is_xim boolean NOT NULL,
    is_stream boolean NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    cached_tokens bigint NOT NULL,
    reasoning_tokens bigint NOT NULL,
    cost_nano bigint NOT NULL,
    price_nano_per_mtok bigint NOT NULL,
    multiplier_bp integer NOT NULL,
    status_code integer NOT NULL,
    error_code text,
    fault text NOT NULL,
    finish_reason text,
    cut_by_client boolean NOT NULL,
    ttft_ms integer,
    latency_ms integer NOT NULL,
    queue_ms integer NOT NULL,
    router_us integer NOT NULL,
    retries integer NOT NULL,
    region text,
    ledger_tx_id text,
    created_at timestamp with time zone NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    CONSTRAINT usage_events_cached_tokens_check CHECK ((cached_tokens >= 0)),
    CONSTRAINT usage_events_cost_nano_check CHECK ((cost_nano >= 0)),
    CONSTRAINT usage_events_fault_check CHECK ((fault = ANY (ARRAY['none'::text, 'client'::text, 'agent'::text, 'router'::text, 'policy'::text]))),
    CONSTRAINT usage_events_input_tokens_check CHECK ((input_tokens >= 0)),
    CONSTRAINT usage_events_multiplier_bp_check CHECK ((multiplier_bp >= 0)),
    CONSTRAINT usage_events_output_tokens_check CHECK ((output_tokens >= 0)),
    CONSTRAINT usage_events_price_nano_per_mtok_check CHECK ((price_nano_per_mtok >= 0)),
    CONSTRAINT usage_events_reasoning_tokens_check CHECK ((reasoning_tokens >= 0)),
    CONSTRAINT usage_events_surface_check CHECK ((surface = ANY (ARRAY['chat'::text, 'completions'::text, 'responses'::text, 'embeddings'::text, 'rerank'::text, 'score'::text, 'batch'::text, 'memory'::text, 'tool'::text, 'web_search'::text])))
)
PARTITION BY RANGE (created_at);


--
-- Name: usage_events_default; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.usage_events_default (
    id text CONSTRAINT usage_events_id_not_null NOT NULL,
    project_id text CONSTRAINT usage_events_project_id_not_null NOT NULL,
    endpoint_id text,
    endpoint_slug text,
    model_id text,
    model_name text,
    model_version text,
    api_key_id text,
    user_id text,
    request_id text CONSTRAINT usage_events_request_id_not_null NOT NULL,
    surface text CONSTRAINT usage_events_surface_not_null NOT NULL,
    service_tier text CONSTRAINT usage_events_service_tier_not_null NOT NULL,
    tier text CONSTRAINT usage_events_tier_not_null NOT NULL,
    worker_id text,
    is_xim boolean CONSTRAINT usage_events_is_xim_not_null NOT NULL,
    is_stream boolean CONSTRAINT usage_events_is_stream_not_null NOT NULL,
    input_tokens bigint CONSTRAINT usage_events_input_tokens_not_null NOT NULL,
    output_tokens bigint CONSTRAINT usage_events_output_tokens_not_null NOT NULL,
    cached_tokens bigint CONSTRAINT usage_events_cached_tokens_not_null NOT NULL,
    reasoning_tokens bigint CONSTRAINT usage_events_reasoning_tokens_not_null NOT NULL,
    cost_nano bigint CONSTRAINT usage_events_cost_nano_not_null NOT NULL,
    price_nano_per_mtok bigint CONSTRAINT usage_events_price_nano_per_mtok_not_null NOT NULL,
    multiplier_bp integer CONSTRAINT usage_events_multiplier_bp_not_null NOT NULL,
    status_code integer CONSTRAINT usage_events_status_code_not_null NOT NULL,
    error_code text,
    fault text CONSTRAINT usage_events_fault_not_null NOT NULL,
    finish_reason text,
    cut_by_client boolean CONSTRAINT usage_events_cut_by_client_not_null NOT NULL,
    ttft_ms integer,
    latency_ms integer CONSTRAINT usage_events_latency_ms_not_null NOT NULL,
    queue_ms integer CONSTRAINT usage_events_queue_ms_not_null NOT NULL,
    router_us integer CONSTRAINT usage_events_router_us_not_null NOT NULL,
    retries integer CONSTRAINT usage_events_retries_not_null NOT NULL,
    region text,
    ledger_tx_id text,
    created_at timestamp with time zone CONSTRAINT usage_events_created_at_not_null NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() CONSTRAINT usage_events_xid_not_null NOT NULL,
    CONSTRAINT usage_events_cached_tokens_check CHECK ((cached_tokens >= 0)),
    CONSTRAINT usage_events_cost_nano_check CHECK ((cost_nano >= 0)),
    CONSTRAINT usage_events_fault_check CHECK ((fault = ANY (ARRAY['none'::text, 'client'::text, 'agent'::text, 'router'::text, 'policy'::text]))),
    CONSTRAINT usage_events_input_tokens_check CHECK ((input_tokens >= 0)),
    CONSTRAINT usage_events_multiplier_bp_check CHECK ((multiplier_bp >= 0)),
    CONSTRAINT usage_events_output_tokens_check CHECK ((output_tokens >= 0)),
    CONSTRAINT usage_events_price_nano_per_mtok_check CHECK ((price_nano_per_mtok >= 0)),
    CONSTRAINT usage_events_reasoning_tokens_check CHECK ((reasoning_tokens >= 0)),
    CONSTRAINT usage_events_surface_check CHECK ((surface = ANY (ARRAY['chat'::text, 'completions'::text, 'responses'::text, 'embeddings'::text, 'rerank'::text, 'score'::text, 'batch'::text, 'memory'::text, 'tool'::text, 'web_search'::text])))
);


--
-- Name: usage_events_default; Type: TABLE ATTACH; Schema: public; Owner: -
--

ALTER TABLE ONLY public.usage_events ATTACH PARTITION public.usage_events_default DEFAULT;


--
-- Name: api_keys api_keys_key_hash_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_key_hash_key UNIQUE (key_hash);


--
-- Name: api_keys api_keys_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (id);


--
-- Name: api_keys api_keys_previous_key_hash_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_previous_key_hash_key UNIQUE (previous_key_hash);


--
-- Name: data_keys data_keys_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.data_keys
    ADD CONSTRAINT data_keys_pkey PRIMARY KEY (id);


--
-- Name: endpoints endpoints_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.endpoints
    ADD CONSTRAINT endpoints_pkey PRIMARY KEY (id);


--
-- Name: models models_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.models
    ADD CONSTRAINT models_pkey PRIMARY KEY (id);


--
-- Name: projects projects_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.projects
    ADD CONSTRAINT projects_pkey PRIMARY KEY (id);


--
-- Name: projects projects_slug_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.projects
    ADD CONSTRAINT projects_slug_key UNIQUE (slug);


--
-- Name: schema_migrations schema_migrations_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (name);


--
-- Name: service_tiers service_tiers_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.service_tiers
    ADD CONSTRAINT service_tiers_pkey PRIMARY KEY (slug);


--
-- Name: usage_events usage_events_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.usage_events
    ADD CONSTRAINT usage_events_pkey PRIMARY KEY (id, created_at);


--
-- Name: usage_events_default usage_events_default_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.usage_events_default
    ADD CONSTRAINT usage_events_default_pkey PRIMARY KEY (id, created_at);


--
-- Name: api_keys_by_project; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX api_keys_by_project ON public.api_keys USING btree (project_id, created_at, id);


--
-- Name: data_keys_by_project; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX data_keys_by_project ON public.data_keys USING btree (project_id, created_at, id);


--
-- Name: data_keys_current; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX data_keys_current ON public.data_keys USING btree (project_id) WHERE (retired_at IS NULL);


--
-- Name: endpoints_by_model; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX endpoints_by_model ON public.endpoints USING btree (model_id) WHERE (deleted_at IS NULL);


--
-- Name: endpoints_by_slug; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX endpoints_by_slug ON public.endpoints USING btree (project_id, slug) WHERE (deleted_at IS NULL);


--
-- Name: models_by_name; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX models_by_name ON public.models USING btree (project_id, name) WHERE (deleted_at IS NULL);


--
-- Name: usage_events_by_request; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX usage_events_by_request ON ONLY public.usage_events USING btree (request_id);


--
-- Name: usage_events_by_xid; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX usage_events_by_xid ON ONLY public.usage_events USING btree (xid);


--
-- Name: usage_events_default_request_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX usage_events_default_request_id_idx ON public.usage_events_default USING btree (request_id);


--
-- Name: usage_events_default_xid_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX usage_events_default_xid_idx ON public.usage_events_default USING btree (xid);


--
-- Name: usage_events_default_pkey; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.usage_events_pkey ATTACH PARTITION public.usage_events_default_pkey;


--
-- Name: usage_events_default_request_id_idx; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.usage_events_by_request ATTACH PARTITION public.usage_events_default_request_id_idx;


--
-- Name: usage_events_default_xid_idx; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.usage_events_by_xid ATTACH PARTITION public.usage_events_default_xid_idx;


--
-- Name: api_keys api_keys_project_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);


--
-- Name: data_keys data_keys_project_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.data_keys
    ADD CONSTRAINT data_keys_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);


--
-- Name: endpoints endpoints_model_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.endpoints
    ADD CONSTRAINT endpoints_model_id_fkey FOREIGN KEY (model_id) REFERENCES public.models(id);


--
-- Name: endpoints endpoints_project_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.endpoints
    ADD CONSTRAINT endpoints_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);


--
-- Name: endpoints endpoints_tier_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.endpoints
    ADD CONSTRAINT endpoints_tier_fkey FOREIGN KEY (tier) REFERENCES public.service_tiers(slug);


--
-- Name: models models_project_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.models
    ADD CONSTRAINT models_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);


--
-- Name: api_keys; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.api_keys ENABLE ROW LEVEL SECURITY;

--
-- Name: data_keys; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.data_keys ENABLE ROW LEVEL SECURITY;

--
-- Name: endpoints; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.endpoints ENABLE ROW LEVEL SECURITY;

--
-- Name: models; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.models ENABLE ROW LEVEL SECURITY;

--
-- Name: projects; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.projects ENABLE ROW LEVEL SECURITY;

--
-- Name: api_keys tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.api_keys TO xerotier_tenant USING ((project_id = current_setting('xerotier.project'::text, true))) WITH CHECK ((project_id = current_setting('xerotier.project'::text, true)));


--
-- Name: endpoints tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.endpoints TO xerotier_tenant USING ((project_id = current_setting('xerotier.project'::text, true))) WITH CHECK ((project_id = current_setting('xerotier.project'::text, true)));


--
-- Name: models tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.models TO xerotier_tenant USING ((project_id = current_setting('xerotier.project'::text, true))) WITH CHECK ((project_id = current_setting('xerotier.project'::text, true)));


--
-- Name: projects tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.projects TO xerotier_tenant USING ((id = current_setting('xerotier.project'::text, true))) WITH CHECK ((id = current_setting('xerotier.project'::text, true)));


--
-- Name: usage_events tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.usage_events FOR SELECT TO xerotier_tenant USING ((project_id = current_setting('xerotier.project'::text, true)));


--
-- Name: usage_events; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.usage_events ENABLE ROW LEVEL SECURITY;

--
-- Name: usage_events_default; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.usage_events_default ENABLE ROW LEVEL SECURITY;

--
-- Name: FUNCTION create_usage_partitions(first timestamp with time zone, months integer); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.create_usage_partitions(first timestamp with time zone, months integer) FROM PUBLIC;


--
-- Name: TABLE api_keys; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT,UPDATE ON TABLE public.api_keys TO xerotier_tenant;
GRANT SELECT,INSERT,UPDATE ON TABLE public.api_keys TO xerotier_system;


--
-- Name: TABLE data_keys; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT,UPDATE ON TABLE public.data_keys TO xerotier_system;


--
-- Name: TABLE endpoints; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT,UPDATE ON TABLE public.endpoints TO xerotier_tenant;
GRANT SELECT,INSERT,UPDATE ON TABLE public.endpoints TO xerotier_system;


--
-- Name: TABLE models; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT,UPDATE ON TABLE public.models TO xerotier_tenant;
GRANT SELECT,INSERT,UPDATE ON TABLE public.models TO xerotier_system;


--
-- Name: TABLE projects; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT ON TABLE public.projects TO xerotier_tenant;
GRANT SELECT,INSERT,UPDATE ON TABLE public.projects TO xerotier_system;


--
-- Name: COLUMN projects.name; Type: ACL; Schema: public; Owner: -
--

GRANT UPDATE(name) ON TABLE public.projects TO xerotier_tenant;


--
-- Name: COLUMN projects.settings; Type: ACL; Schema: public; Owner: -
--

GRANT UPDATE(settings) ON TABLE public.projects TO xerotier_tenant;


--
-- Name: COLUMN projects.updated_at; Type: ACL; Schema: public; Owner: -
--

GRANT UPDATE(updated_at) ON TABLE public.projects TO xerotier_tenant;


--
-- Name: TABLE service_tiers; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT ON TABLE public.service_tiers TO xerotier_tenant;
GRANT SELECT,INSERT,UPDATE ON TABLE public.service_tiers TO xerotier_system;


--
-- Name: TABLE usage_events; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT ON TABLE public.usage_events TO xerotier_tenant;
GRANT SELECT,INSERT ON TABLE public.usage_events TO xerotier_system;


--
-- Name: TABLE usage_events_default; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT ON TABLE public.usage_events_default TO xerotier_system;


--
-- PostgreSQL database dump complete
--


