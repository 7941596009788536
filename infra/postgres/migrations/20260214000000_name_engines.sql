-- Model servers differ: an endpoint may say whose server it has, and otherwise it is recognized by its list of models.

ALTER TABLE endpoints
    -- NULL = recognize it.
    ADD COLUMN upstream_engine  text CHECK (upstream_engine IN ('vllm', 'llama_cpp', 'openai')),
    -- What its server last said of itself: an EngineReport.
    ADD COLUMN engine_report    jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(engine_report) = 'object');
