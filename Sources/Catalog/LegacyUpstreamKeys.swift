import Crypto
import OpenAI
import Postgres
import Tenancy

extension SystemConnection {
    /// Seals anew, under data keys, the upstreams' API keys that are stored in the form before there were any. Again and again changes nothing more.
    ///
    /// What the master key does not open stays as it is: its endpoint has not served before either, and its key can be set again.
    /// - Parameters: made only where there is something to do.
    /// - Returns: how many were sealed anew.
    public func resealUpstreamKeys(from legacy: () throws -> LegacyEnvelope, to sealing: () throws -> Sealing) throws -> Int {
        let rows = try query(
            """
            SELECT id, project_id, upstream_api_key FROM endpoints
            WHERE octet_length(upstream_api_key) > 0 AND get_byte(upstream_api_key, 0) = \(Int(LegacyEnvelope.version))
            """)
        guard !rows.isEmpty else { return 0 }
        let (legacy, sealing) = (try legacy(), try sealing())
        var count = 0
        for row in rows {
            let (id, project): (ID<Endpoint>, ID<Project>) = (try row.get("id"), try row.get("project_id"))
            let stored: [UInt8] = try row.get("upstream_api_key")
            guard let key = try opened(stored, of: project, legacy) else { continue }
            let sealed = try sealing.seal(project: project.description, kind: upstreamKeyKind, object: id.description, key)
            count += try query(
                """
                UPDATE endpoints SET upstream_api_key = \(sealed), generation = generation + 1, updated_at = now()
                WHERE id = \(id) AND project_id = \(project) AND upstream_api_key = \(stored) RETURNING 1
                """
            ).count
        }
        return count
    }

    private func opened(_ stored: [UInt8], of project: ID<Project>, _ legacy: LegacyEnvelope) throws -> [UInt8]? {
        do {
            return try legacy.open(project: project.description, kind: upstreamKeyKind, stored)
        } catch SealingError.cannotOpen { return nil }
    }
}
