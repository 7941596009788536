import MessagePack

/// What an agent shall do with a model.
public struct ModelAssign: FrameFields {
    public enum Action: String, Sendable, CaseIterable { case load, unload, pin }

    public var modelID: String
    public var version: String
    public var manifestURL: String?
    public var options: MessagePackMap
    public var action: Action

    public init(modelID: String, version: String, manifestURL: String? = nil, options: MessagePackMap, action: Action) {
        self.modelID = modelID
        self.version = version
        self.manifestURL = manifestURL
        self.options = options
        self.action = action
    }

    init(_ fields: FieldReader) throws(FrameError) {
        modelID = try fields.text("model_id")
        version = try fields.text("version")
        manifestURL = try fields.optionalText("manifest_url", atMost: FieldReader.textLength)
        options = try fields.map("options")
        action = try fields.choice("action")
    }

    func write(to map: inout MessagePackMap) {
        map.add("model_id", modelID)
        map.add("version", version)
        map.add("manifest_url", manifestURL)
        map.add("options", options)
        map.add("action", action.rawValue)
    }
}

/// How far an agent is with a model.
public struct ModelStatus: FrameFields {
    public var modelID: String
    public var version: String
    public var state: ModelPhase
    public var bytesDone: Int
    public var bytesTotal: Int
    public var error: String?

    public init(modelID: String, version: String, state: ModelPhase, bytesDone: Int, bytesTotal: Int, error: String? = nil) {
        self.modelID = modelID
        self.version = version
        self.state = state
        self.bytesDone = bytesDone
        self.bytesTotal = bytesTotal
        self.error = error
    }

    init(_ fields: FieldReader) throws(FrameError) {
        modelID = try fields.text("model_id")
        version = try fields.text("version")
        state = try fields.choice("state")
        bytesDone = try fields.integer("bytes_done")
        bytesTotal = try fields.integer("bytes_total")
        error = try fields.optionalText("error", atMost: FieldReader.textLength)
    }

    func write(to map: inout MessagePackMap) {
        map.add("model_id", modelID)
        map.add("version", version)
        map.add("state", state.rawValue)
        map.add("bytes_done", bytesDone)
        map.add("bytes_total", bytesTotal)
        map.add("error", error)
    }
}

/// What an engine's prefix cache no longer has.
public struct KVEvent: FrameFields {
    public var sequence: Int
    public var removed: [UInt64]
    public var isCleared: Bool

    public init(sequence: Int, removed: [UInt64], isCleared: Bool) {
        self.sequence = sequence
        self.removed = removed
        self.isCleared = isCleared
    }

    init(_ fields: FieldReader) throws(FrameError) {
        sequence = try fields.integer("kv_seq")
        removed = try fields.hashes("removed")
        isCleared = try fields.flag("cleared")
    }

    func write(to map: inout MessagePackMap) {
        map.add("kv_seq", sequence)
        map.add("removed", removed)
        map.add("cleared", isCleared)
    }
}

/// Where a model is on an agent: `assigned`, `downloading`, `verifying`, `loading`, `ready`, `unloading`, `gone` in this order, or `failed` from any.
public enum ModelPhase: String, Sendable, Codable, CaseIterable {
    case assigned, downloading, verifying, loading, ready, unloading, gone, failed
}
