import Mesh
import ZeroMQ

/// The CURVE keys of one session, and their rotation (05 §12).
///
/// The new keys are on the disk before the router hears of them, and the old ones stay until the router has let the agent in with the new. So a crash
/// at any moment leaves a pair that is let in; a session that is refused tries the other.
final class SessionKeys {
    let curve: CurveKeys
    private let isNew: Bool
    private let state: StateDirectory
    /// Since when the router may know new keys.
    private var newSince: ContinuousClock.Instant?

    /// The router writes new keys down before it lets anybody in with them, and is given the time for that.
    private static let pause = Duration.seconds(1)

    init(_ state: StateDirectory, new: Bool) throws {
        self.state = state
        isNew = new
        curve = try new ? state.newCurveKeys() : state.curveKeys()
        // Of a rotation that came to no end before: the router was not asked yet whether it knows them, or was asked too early.
        if !new && state.isRotating { newSince = .now }
    }

    /// Those to try after these were refused or are old.
    func others() throws -> SessionKeys { try SessionKeys(state, new: !isNew && state.isRotating) }

    var mayBeOthers: Bool { isNew || state.isRotating }
    var areOld: Bool { !isNew && newSince.map { ContinuousClock.now - $0 > Self.pause } ?? false }

    /// The router has let the agent in with these.
    func areGood() throws { if isNew { try state.adoptNewCurveKeys() } }

    func rotate(_ wanted: CurveRotate) throws -> CurveRotateAck {
        let key = try state.newCurveKeys().publicKey.text
        newSince = .now
        return CurveRotateAck(newPublicKey: key, signature: try state.signingKeys().signature(of: wanted.nonce + Array(key.utf8)))
    }
}
