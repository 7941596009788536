import OpenAI
import Testing

@Suite struct IDTests {
    @Test(arguments: ["key_0123456789abcdefghijklmn", "key_zzzzzzzzzzzzzzzzzzzzzzzz"])
    func ourFormIsAccepted(text: String) throws {
        #expect(try #require(ID<APIKey>(text)).description == text)
    }

    @Test(arguments: ["", "key_", "key_short", "ep_0123456789abcdefghijklmn", "key_0123456789ABCDEFGHIJKLMN", "key_0123456789abcdefghijklmno", "key_0123456789abcdefghijkl-n"])
    func otherFormsAreRefused(text: String) {
        #expect(ID<APIKey>(text) == nil)
    }

    @Test func randomOnesHaveTheirFormAndDiffer() {
        let ids = Set((0..<1_000).map { _ in ID<APIKey>.random().description })
        #expect(ids.count == 1_000 && ids.allSatisfy { ID<APIKey>($0) != nil })
    }
}
