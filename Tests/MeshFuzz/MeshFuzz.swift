import Foundation
import Mesh
import MeshSamples
import ZeroMQ

/// A peer of the mesh that is let in and then sends what it should not: frames of every kind, damaged, in any order, far too long, and in the midst of
/// requests that it has really been given. One JSON object says what it sent.
///
///     mesh-fuzz agent HOME SECONDS SEED     as the agent that has enrolled in HOME, to its router
///     mesh-fuzz router PORT SECONDS SEED    as a router; the first line is its public key, which agents must have
@main
struct MeshFuzz {
    static func main() throws {
        let arguments = CommandLine.arguments
        guard arguments.count == 5, let seconds = Double(arguments[3]), let seed = UInt64(arguments[4]) else {
            throw Problem("mesh-fuzz agent HOME SECONDS SEED | router PORT SECONDS SEED")
        }
        var peer = try arguments[1] == "router" ? Peer(routerAt: arguments[2], seed: seed) : Peer(agentOf: arguments[2], seed: seed)
        try peer.run(for: .seconds(seconds))
        print(#"{"sent":\#(peer.sent),"received":\#(peer.received),"greetings":\#(peer.greetings),"seed":\#(seed)}"#)
    }
}

struct Problem: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}
