-- The tiers that an agent serves: those of its list, or what it is good for (05 §22). A project's own agent is for the tier of its own machines; one of
-- the operator for those of its accelerators, and for the free one.
CREATE FUNCTION usual_tiers(accelerators jsonb, is_shared boolean) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN NOT is_shared THEN ARRAY['self_hosted'] ELSE ARRAY(
        SELECT tier FROM (
            SELECT place, CASE lower(device->>'kind')
                WHEN 'cuda' THEN 'gpu_nvidia_shared'
                WHEN 'rocm' THEN 'gpu_amd_shared'
                WHEN 'oneapi' THEN 'gpu_intel_shared'
                WHEN 'xpu' THEN 'gpu_intel_shared'
                WHEN 'zendnn' THEN 'cpu_amd_optimized'
                WHEN 'cpu' THEN CASE
                    WHEN device->>'name' LIKE '%AMD%' THEN 'cpu_amd_optimized'
                    WHEN device->>'name' LIKE '%Intel%' THEN 'cpu_intel_optimized' END
                END AS tier
            FROM jsonb_array_elements(accelerators) WITH ORDINALITY AS devices (device, place)) AS devices
        WHERE tier IS NOT NULL GROUP BY tier ORDER BY min(place)) || 'free'::text END
$$;

ALTER TABLE agents ADD COLUMN served_tiers text[] NOT NULL
    GENERATED ALWAYS AS (coalesce(supported_tiers, usual_tiers(accelerators, project_id IS NULL))) STORED;
