import Accounts
import Testing

@Suite struct KeyTextTests {
    private static let secret = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ"

    private static let secrets: [String] = [
        secret, "_\(secret.dropFirst())", "\(secret.dropLast())_", String(repeating: "_", count: 43), "-_\(secret.dropFirst(2))",
        "ab_cd_\(secret.dropFirst(6))",
    ]

    @Test(arguments: secrets) func theSlugEndsAtTheFirstUnderscore(secret: String) throws {
        let key = try #require(KeyText("xero_my-team_\(secret)"))
        #expect(key.projectSlug == "my-team" && key.value.hasSuffix(secret))
        #expect(key.shownPrefix == "xero_my-team")
    }

    private static let others: [String] = [
        "", "xero_", "xero_acme", "xero_acme_", "xero_acme_\(secret.dropLast())", "xero_acme_\(secret)x", "sk_acme_\(secret)",
        "xero__\(secret)", "xero_Acme_\(secret)", "xero_a_\(secret)", "xero_acme_\(secret.dropLast())!", "xero_acme_\(secret.dropLast())=",
        " xero_acme_\(secret)", "xero_acme_\(secret)\n", "xero_acme_\(secret.dropLast())\0", "xero_acme_\(secret.dropLast())ü",
        "xero_acme_\(secret.dropLast(2))ü", String(repeating: "x", count: 100_000),
    ]

    @Test(arguments: others) func anotherFormIsNoKey(text: String) { #expect(KeyText(text) == nil) }

    @Test func newKeysAreWellFormedAndDiffer() throws {
        let keys = (0..<200).compactMap { _ in KeyText.random(projectSlug: "acme") }
        #expect(Set(keys.map(\.value)).count == 200)
        for key in keys { #expect(KeyText(key.value) == key && key.projectSlug == "acme") }
    }
}
