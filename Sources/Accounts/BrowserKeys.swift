import OpenAI
import Server

/// Keys that are pinned to an endpoint whose visibility is `public_key`, and so may stand in a page, where everybody can read them (08 §3).
enum BrowserKeys {
    static func check(scopes: [Scope], quota: KeyQuota?) throws {
        guard scopes == [.inference] else {
            throw APIError(
                .unsupportedCombination, "A key for an endpoint of the visibility 'public_key' has the scope 'inference' alone.",
                param: "scopes")
        }
        if quota == nil { throw needsQuota }
    }

    static let needsQuota = APIError(
        .missingRequiredParameter, "A key for an endpoint of the visibility 'public_key' has a quota.", param: "quota")
}
