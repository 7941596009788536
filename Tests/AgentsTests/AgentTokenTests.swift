import Agents
import Crypto
import Foundation
import OpenAI
import Testing

struct AgentTokenTests {
    private let keys: MeshKeys
    private let agent = ID<Agent>.random()

    init() throws { keys = try MeshKeys(secret: Data(repeating: 7, count: 32).base64EncodedString()) }

    @Test func aTokenNamesItsAgentForADay() throws {
        let token = try AgentToken(of: agent, at: 1_000, signedWith: keys)
        #expect(token.expiresAt == 87_400 && token.refreshAfter == 65_800)
        #expect(AgentToken.agent(of: token.text, at: 1_000, signedWith: keys) == agent)
        #expect(AgentToken.agent(of: token.text, at: 87_399, signedWith: keys) == agent)
        #expect(AgentToken.agent(of: token.text, at: 87_400, signedWith: keys) == nil)
        #expect(AgentToken.agent(of: token.text, at: 87_400, mayBeOver: true, signedWith: keys) == agent)
        #expect(!"\(token)".contains(token.text) && token.text.split(separator: ".").count == 3)
    }

    @Test func nothingButTheWholeTokenIsOne() throws {
        let token = try AgentToken(of: agent, at: 1_000, signedWith: keys).text
        let other = try MeshKeys(secret: Data(repeating: 8, count: 32).base64EncodedString())
        #expect(AgentToken.agent(of: token, at: 1_000, signedWith: other) == nil)
        // The last character carries spare bits, so the one before it is changed.
        for place in 0..<(token.utf8.count - 1) {
            var bytes = Array(token.utf8)
            bytes[place] = bytes[place] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
            #expect(AgentToken.agent(of: String(decoding: bytes, as: UTF8.self), at: 1_000, signedWith: keys) == nil, "place \(place)")
        }
        for text in ["", "..", "a.b.c", String(token.dropLast(4)), token + ".", String(repeating: "A", count: 2_000)] {
            #expect(AgentToken.agent(of: text, at: 1_000, signedWith: keys) == nil)
        }
    }

    @Test func theSameSecretMakesTheSameRouter() throws {
        let again = try MeshKeys(secret: Data(repeating: 7, count: 32).base64EncodedString())
        #expect(keys.curve.publicKey == again.curve.publicKey)
        #expect(throws: SealingError.badMasterKey) { try MeshKeys(secret: "c2hvcnQ=") }
        #expect(!"\(keys)".contains(keys.curve.secretText))
    }
}
