-- The rows of a project that are not yet in the rollups, of the moment of the statement that asks (it is STABLE, so it sees no later one).
-- Each call is planned for the watermark as it is: a plan for any watermark would read all rows of the time instead of the few past it.
CREATE FUNCTION usage_events_past_watermark(project text, first timestamptz, before timestamptz) RETURNS SETOF usage_events
LANGUAGE plpgsql STABLE ROWS 1000 AS $$
DECLARE
    mark xid8;
BEGIN
    SELECT watermark INTO mark FROM usage_progress;
    RETURN QUERY EXECUTE format(
        'SELECT * FROM usage_events WHERE project_id = %L AND xid >= %L::xid8 AND created_at >= %L::timestamptz AND created_at < %L::timestamptz',
        project, mark, first, before);
END
$$;
