import Mesh
import Testing

@Suite struct AgentNameTests {
    @Test func aNameIsAWorkerAndThirtyTwoDigits() throws {
        let name = AgentName(workerID: "us-east-1:agt_1", nonce: Array(0..<16))
        #expect(String(decoding: name.bytes, as: UTF8.self) == "us-east-1:agt_1/000102030405060708090a0b0c0d0e0f")
        #expect(AgentName(name.bytes) == name)
        #expect(AgentName(name.bytes)?.workerID == "us-east-1:agt_1")
    }

    @Test(arguments: [
        "", "/", "us-east-1:agt_1", "us-east-1:agt_1/", "us-east-1:agt_1/00", "/000102030405060708090a0b0c0d0e0f",
        "us-east-1:agt_1/000102030405060708090A0B0C0D0E0F", "us-east-1:agt_1/000102030405060708090a0b0c0d0e0f0",
        "a b/000102030405060708090a0b0c0d0e0f",
        String(repeating: "a", count: 230) + "/000102030405060708090a0b0c0d0e0f",
    ])
    func otherNamesAreNone(text: String) {
        #expect(AgentName(Array(text.utf8)) == nil)
    }
}
