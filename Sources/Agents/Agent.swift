import Mesh
import OpenAI
import Server

/// What an agent says when it enrols (05 §11).
public struct NewAgent: Sendable, Equatable {
    public var role: AgentRole
    public var name: String
    public var hostname: String?
    public var version: String
    /// Z85, 40 characters.
    public var curvePublicKey: String
    /// Ed25519, 32 bytes.
    public var signingPublicKey: [UInt8]
    public var platform: Platform?
    public var accelerators: [Accelerator]
    /// 0 = as many as its engine has places.
    public var maxConcurrent: Int

    /// What it runs on.
    public struct Platform: Sendable, Equatable, Encodable {
        public var os: String?
        public var architecture: String?

        private enum CodingKeys: String, CodingKey {
            case os
            case architecture = "arch"
        }
    }
}

enum AgentError: APIErrorConvertible, Equatable {
    case noSuchAgent
    case tooMany
    case invalidJoinKey
    case joinKeyConsumed
    case joinKeyExpired
    case otherRole(AgentRole)
    case nameTaken
    case curveKeyTaken
    case invalidToken
    case notSigned
    /// Its credentials are revoked, so that it can be told nothing.
    case isRevoked
    case rotationUnderWay
    /// Its project has approved it, or did not have to.
    case isNoCandidate

    /// Agents of a project at one time.
    static let most = 100

    var apiError: APIError {
        switch self {
        case .noSuchAgent: APIError(.agentNotFound, "There is no such agent.")
        case .tooMany: APIError(.quotaExceeded, "A project has at most \(Self.most) agents.", strategy: .quota)
        case .invalidJoinKey: APIError(.invalidJoinKey, "The join key is not good.", param: "join_key")
        case .joinKeyConsumed: APIError(.joinKeyConsumed, "The join key has enrolled an agent already.", param: "join_key")
        case .joinKeyExpired: APIError(.joinKeyExpired, "The join key is over.", param: "join_key")
        case .otherRole(let role): .invalid("role", "The join key is for the role '\(role.rawValue)'.")
        case .nameTaken: APIError(.registrationNameTaken, "The project has an agent of this name already.", param: "name")
        case .curveKeyTaken: APIError(.conflict, "Another agent has this key already.", param: "curve_public_key")
        case .isRevoked: APIError(.conflict, "The agent's credentials are revoked; it has to enrol again.")
        case .isNoCandidate: APIError(.conflict, "The agent does not wait for an approval.")
        case .rotationUnderWay: APIError(.conflict, "The agent is asked for a new key already.")
        case .invalidToken: APIError(.invalidAgentToken, "The agent's token is not good.")
        case .notSigned:
            APIError(.invalidAgentToken, "The signature is not the agent's, or its time is off by more than a minute.", param: "sig")
        }
    }
}
