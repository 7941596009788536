import MessagePack

/// What a message of the mesh says (05 §12).
public enum Frame: Sendable, Equatable {
    case hello(Hello)
    case welcome(Welcome)
    case heartbeat(Heartbeat)
    case leaseRenewal(LeaseRenewal)
    case leaseAck(LeaseAck)
    case dispatch(Dispatch)
    case accept(Accept)
    case reject(Reject)
    case chunk(Chunk)
    case credit(Credit)
    case done(Done)
    case error(Failure)
    case cancel(Cancel)
    case progress(Progress)
    case modelAssign(ModelAssign)
    case modelStatus(ModelStatus)
    case kvEvent(KVEvent)
    case pause(Pause)
    case resume(Resume)
    case curveRotate(CurveRotate)
    case curveRotateAck(CurveRotateAck)
    case drain(Drain)
    case bye(Bye)
    case ping(Ping)
    case route(RouteRequest)
    case routed(Routed)
    case extend(Extend)
    case explain(Explain)
    case explained(Explained)

    /// Who sends it: an agent and its router, or a gateway and the router that it asks; `relay` is the router as gateways hear it.
    public enum Sender: Sendable, CaseIterable { case agent, router, gateway, relay }

    /// As it stands in the first part of a message.
    public enum Kind: String, Sendable, CaseIterable {
        case hello, welcome, heartbeat
        case leaseRenewal = "lease_renewal"
        case leaseAck = "lease_ack"
        case dispatch, accept, reject, chunk, credit, done, error, cancel, progress
        case modelAssign = "model_assign"
        case modelStatus = "model_status"
        case kvEvent = "kv_event"
        case pause, resume
        case curveRotate = "curve_rotate"
        case curveRotateAck = "curve_rotate_ack"
        case drain, bye
        case ping, route, routed, extend, explain, explained

        public func isSent(by sender: Sender) -> Bool {
            switch self {
            case .hello, .heartbeat, .leaseRenewal, .accept, .reject, .progress, .modelStatus, .kvEvent, .curveRotateAck: sender == .agent
            case .chunk, .done, .error: sender == .agent || sender == .relay
            case .welcome, .leaseAck, .dispatch, .modelAssign, .pause, .resume, .curveRotate: sender == .router
            case .credit, .cancel: sender == .router || sender == .gateway
            case .route, .extend, .explain: sender == .gateway
            case .routed, .explained: sender == .relay
            case .ping: sender == .gateway || sender == .relay
            case .drain, .bye: sender == .agent || sender == .router
            }
        }
    }

    public var kind: Kind { parts.kind }

    var body: any FrameFields { parts.body }

    private var parts: (kind: Kind, body: any FrameFields) {
        switch self {
        case .hello(let body): (.hello, body)
        case .welcome(let body): (.welcome, body)
        case .heartbeat(let body): (.heartbeat, body)
        case .leaseRenewal(let body): (.leaseRenewal, body)
        case .leaseAck(let body): (.leaseAck, body)
        case .dispatch(let body): (.dispatch, body)
        case .accept(let body): (.accept, body)
        case .reject(let body): (.reject, body)
        case .chunk(let body): (.chunk, body)
        case .credit(let body): (.credit, body)
        case .done(let body): (.done, body)
        case .error(let body): (.error, body)
        case .cancel(let body): (.cancel, body)
        case .progress(let body): (.progress, body)
        case .modelAssign(let body): (.modelAssign, body)
        case .modelStatus(let body): (.modelStatus, body)
        case .kvEvent(let body): (.kvEvent, body)
        case .pause(let body): (.pause, body)
        case .resume(let body): (.resume, body)
        case .curveRotate(let body): (.curveRotate, body)
        case .curveRotateAck(let body): (.curveRotateAck, body)
        case .drain(let body): (.drain, body)
        case .bye(let body): (.bye, body)
        case .ping(let body): (.ping, body)
        case .route(let body): (.route, body)
        case .routed(let body): (.routed, body)
        case .extend(let body): (.extend, body)
        case .explain(let body): (.explain, body)
        case .explained(let body): (.explained, body)
        }
    }

    init(_ kind: Kind, _ fields: FieldReader) throws(FrameError) {
        switch kind {
        case .hello: self = .hello(try Hello(fields))
        case .welcome: self = .welcome(try Welcome(fields))
        case .heartbeat: self = .heartbeat(try Heartbeat(fields))
        case .leaseRenewal: self = .leaseRenewal(try LeaseRenewal(fields))
        case .leaseAck: self = .leaseAck(try LeaseAck(fields))
        case .dispatch: self = .dispatch(try Dispatch(fields))
        case .accept: self = .accept(try Accept(fields))
        case .reject: self = .reject(try Reject(fields))
        case .chunk: self = .chunk(try Chunk(fields))
        case .credit: self = .credit(try Credit(fields))
        case .done: self = .done(try Done(fields))
        case .error: self = .error(try Failure(fields))
        case .cancel: self = .cancel(try Cancel(fields))
        case .progress: self = .progress(try Progress(fields))
        case .modelAssign: self = .modelAssign(try ModelAssign(fields))
        case .modelStatus: self = .modelStatus(try ModelStatus(fields))
        case .kvEvent: self = .kvEvent(try KVEvent(fields))
        case .pause: self = .pause(try Pause(fields))
        case .resume: self = .resume(try Resume(fields))
        case .curveRotate: self = .curveRotate(try CurveRotate(fields))
        case .curveRotateAck: self = .curveRotateAck(try CurveRotateAck(fields))
        case .drain: self = .drain(try Drain(fields))
        case .bye: self = .bye(try Bye(fields))
        case .ping: self = .ping(try Ping(fields))
        case .route: self = .route(try RouteRequest(fields))
        case .routed: self = .routed(try Routed(fields))
        case .extend: self = .extend(try Extend(fields))
        case .explain: self = .explain(try Explain(fields))
        case .explained: self = .explained(try Explained(fields))
        }
    }
}
