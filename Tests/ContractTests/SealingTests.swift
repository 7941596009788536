import Crypto
import Foundation
import Server
import Testing

/// The data keys of two projects, without a database.
struct KeysInMemory: DataKeySource {
    let keys: [String: DataKey] = [
        "proj_a": .random(id: "dk_aaaaaaaaaaaaaaaaaaaaaaaa"), "proj_b": .random(id: "dk_bbbbbbbbbbbbbbbbbbbbbbbb"),
    ]

    func current(of project: String) throws -> DataKey {
        guard let key = keys[project] else { throw SealingError.noKey }
        return key
    }

    /// Gives any key to any project: the envelope alone must hold what it is sealed for.
    func key(_ id: String, of project: String) throws -> DataKey {
        guard let key = keys.values.first(where: { $0.id == id }) else { throw SealingError.noKey }
        return key
    }
}

@Suite struct SealingTests {
    private let sealing = Sealing(keys: KeysInMemory())

    @Test(arguments: [0, 1, 100, 1 << 20, 4 << 20, (4 << 20) + 1, (8 << 20) + 5])
    func whatIsSealedOpensAgain(count: Int) throws {
        let plain = Random.bytes(count)
        let sealed = try sealing.seal(project: "proj_a", kind: "file", object: "file-1", plain)
        #expect(try sealing.open(project: "proj_a", kind: "file", object: "file-1", sealed) == plain)
        #expect(sealed.count == 28 + max(1, (count + (4 << 20) - 1) / (4 << 20)) * 28 + count)
        #expect(try sealing.seal(project: "proj_a", kind: "file", object: "file-1", plain) != sealed)
    }

    @Test func anEnvelopeOpensOnlyWhereItWasSealedFor() throws {
        let sealed = try sealing.seal(project: "proj_a", kind: "key", object: "ep_1", Array("secret".utf8))
        for (project, kind, object) in [
            ("proj_b", "key", "ep_1"), ("proj_a", "file", "ep_1"), ("proj_a", "key", "ep_2"), ("proj_a", "", "keyep_1"),
        ] {
            #expect(throws: SealingError.cannotOpen) { try sealing.open(project: project, kind: kind, object: object, sealed) }
        }
        // Two objects of one project swapped, and one of them under the other's key id.
        let other = try sealing.seal(project: "proj_a", kind: "key", object: "ep_2", Array("other".utf8))
        #expect(throws: SealingError.cannotOpen) { try sealing.open(project: "proj_a", kind: "key", object: "ep_1", other) }
        let foreign = try sealing.seal(project: "proj_b", kind: "key", object: "ep_1", Array("foreign".utf8))
        let relabelled = Array(sealed[..<Envelope.headerLength] + foreign[Envelope.headerLength...])
        #expect(throws: SealingError.cannotOpen) { try sealing.open(project: "proj_a", kind: "key", object: "ep_1", relabelled) }
    }

    @Test func everyChangedByteAndEveryCutIsNoticed() throws {
        let sealed = try sealing.seal(project: "proj_a", kind: "key", object: "ep_1", Array("secret".utf8))
        for index in sealed.indices {
            var changed = sealed
            changed[index] ^= 1
            #expect(throws: SealingError.self) { try sealing.open(project: "proj_a", kind: "key", object: "ep_1", changed) }
            #expect(throws: SealingError.cannotOpen) {
                try sealing.open(project: "proj_a", kind: "key", object: "ep_1", Array(sealed[..<index]))
            }
        }
    }

    @Test func framesCannotBeCutOffSwappedOrRepeated() throws {
        let frame = Envelope.sealedFrameLength
        let sealed = try sealing.seal(project: "proj_a", kind: "file", object: "f", Random.bytes(2 * Envelope.plainFrameLength + 9))
        let head = Array(sealed[..<Envelope.headerLength])
        let frames = [0, 1, 2].map { Array(sealed[(Envelope.headerLength + $0 * frame)...].prefix(frame)) }
        for order in [[0, 1], [0], [0, 2], [1, 0, 2], [0, 0, 2], [0, 1, 2, 2], [2]] {
            let changed = head + order.flatMap { frames[$0] }
            #expect(throws: SealingError.cannotOpen, "\(order)") { try sealing.open(project: "proj_a", kind: "file", object: "f", changed) }
        }
        // One frame alone opens where it is known to be the second.
        let opener = try sealing.opener(of: head, project: "proj_a", kind: "file", object: "f")
        #expect(try opener.openFrame(frames[1], number: 1, isLast: false).count == Envelope.plainFrameLength)
        #expect(throws: SealingError.cannotOpen) { try opener.openFrame(frames[1], number: 0, isLast: false) }
    }

    @Test func aBrokenEnvelopeIsStorageCorruptToClients() {
        for error in [SealingError.cannotOpen, .noKey] {
            #expect(error.apiError.code.name == "storage_corrupt" && error.apiError.code.status == 500)
        }
        #expect(SealingError.unknownMasterKey.apiError.code.name == "internal_error")
    }

    @Test func aDataKeyIsShownByItsIDAlone() {
        let key = DataKey.random(id: "dk_aaaaaaaaaaaaaaaaaaaaaaaa")
        var dumped = ""
        dump(key, to: &dumped)
        #expect("\(key)" == "DataKey(dk_aaaaaaaaaaaaaaaaaaaaaaaa)" && !(dumped + String(reflecting: key)).contains("bytes"))
    }

    static let first = Data(repeating: 7, count: 32).base64EncodedString()
    static let second = Data(repeating: 8, count: 32).base64EncodedString()

    @Test func aDataKeyIsUnwrappedByItsMasterKeyAndForItsProjectOnly() throws {
        let (old, new) = (try MasterKeys(current: Self.first), try MasterKeys(current: Self.second))
        let key = DataKey.random(id: "dk_aaaaaaaaaaaaaaaaaaaaaaaa")
        let wrapped = try old.wrap(key, project: "proj_a")
        #expect(throws: SealingError.unknownMasterKey) { try new.unwrap(wrapped) }
        var moved = wrapped
        moved.project = "proj_b"
        #expect(throws: SealingError.cannotOpen) { try old.unwrap(moved) }
        var renamed = wrapped
        renamed.id = "dk_bbbbbbbbbbbbbbbbbbbbbbbb"
        #expect(throws: SealingError.cannotOpen) { try old.unwrap(renamed) }

        let both = try MasterKeys(current: Self.second, previous: Self.first)
        let rewrapped = try #require(try both.rewrap(wrapped))
        #expect(try both.rewrap(rewrapped) == nil && rewrapped.masterKeyID == new.currentID)
        #expect(throws: SealingError.unknownMasterKey) { try old.unwrap(rewrapped) }
        #expect(try new.unwrap(rewrapped).id == key.id)
    }

    @Test(arguments: ["", "abc", "AAAA"])
    func badMasterKeysAreRefused(text: String) {
        #expect(throws: SealingError.badMasterKey) { try MasterKeys(current: text) }
        #expect(throws: SealingError.badMasterKey) { try LegacyEnvelope(masterKey: text) }
    }
}
