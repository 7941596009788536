/// The types of event, in the order of 08 §11.
public enum EventType: String, Sendable, CaseIterable {
    case batchCompleted = "batch.completed"
    case batchFailed = "batch.failed"
    case batchCancelled = "batch.cancelled"
    case responseCompleted = "response.completed"
    case responseFailed = "response.failed"
    case fileUploaded = "file.uploaded"
    case fileDeleted = "file.deleted"
    case conversationCreated = "conversation.created"
    case conversationDeleted = "conversation.deleted"
    case execDispatched = "exec.dispatched"
    case execCompleted = "exec.completed"
    case execFailed = "exec.failed"
    case execTimeout = "exec.timeout"
    case execAmbiguous = "exec.ambiguous"
    case execApprovalRequested = "exec.approval_requested"
    case execApproved = "exec.approved"
    case execRejected = "exec.rejected"
    case execApprovalEscalated = "exec.approval_escalated"
    case execApprovalTimedOut = "exec.approval_timed_out"
    case execAgentEnrolled = "exec.agent_enrolled"
    case execAgentOffline = "exec.agent_offline"
    case execDiscoveryPending = "exec.discovery_pending"
    case execWorkspaceCreated = "exec.workspace_created"
    case execWorkspaceBudgetExhausted = "exec.workspace_budget_exhausted"
    case agentEnrolled = "agent.enrolled"
    case agentOnline = "agent.online"
    case agentOffline = "agent.offline"
    case joinKeyCreated = "join_key.created"
    case joinKeyConsumed = "join_key.consumed"
    case budgetAlert = "ox.budget_alert"
    case statusChanged = "ox.status_changed"
    case sloAlert = "ox.slo_alert"

    /// Those that can be subscribed to, and are not sent yet.
    public var isReserved: Bool {
        switch self {
        case .execAmbiguous, .execDiscoveryPending, .execWorkspaceCreated, .execWorkspaceBudgetExhausted: true
        default: false
        }
    }
}
