-- Agents of the operator serve all projects of their tiers (05 §22): they, their join keys and their history belong to no project, and no tenant
-- sees them, since the policies of these tables compare the project.
ALTER TABLE agents ALTER COLUMN project_id DROP NOT NULL;
ALTER TABLE join_keys ALTER COLUMN project_id DROP NOT NULL;
ALTER TABLE agent_events ALTER COLUMN project_id DROP NOT NULL;
CREATE UNIQUE INDEX shared_agents_by_name ON agents (name) WHERE project_id IS NULL AND revoked_at IS NULL;

-- Where a project approves new agents, one that has enrolled waits until a manager has.
ALTER TABLE agents ADD COLUMN awaits_approval boolean NOT NULL DEFAULT false;
GRANT UPDATE (awaits_approval) ON agents TO xerotier_tenant;

-- The operator's tool makes join keys for shared agents.
GRANT INSERT ON join_keys TO xerotier_system;
