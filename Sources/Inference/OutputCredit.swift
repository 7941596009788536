import Billing
import Catalog
import OpenAI
import Server

/// What pays for one request for generated text (08 §6): a hold for its prompt and its first tokens, and more of it before more tokens are
/// passed on. It belongs to the request's thread.
final class OutputCredit {
    /// So many tokens of output are held at a time.
    static let step = 2_048
    /// An answer that cannot have so many tokens is not begun (04 §10).
    private static let least = 16

    let taken: RequestCredit
    /// The most tokens an answer may have, where the project cannot pay for all that was asked for; sent to the engine.
    private(set) var limit: Int?
    /// With the prompt as it is settled, rather than as it is held.
    private let quote: CreditQuote
    /// Tokens of output, of all choices together, that `taken` pays for.
    private var covered: Int
    /// The answer was ended because nobody pays for more of it.
    private(set) var isUsedUp = false

    private init(_ taken: RequestCredit, _ quote: CreditQuote) {
        self.taken = taken
        self.quote = quote
        covered = quote.output(for: taken.held)
    }

    /// Holds what the beginning of its answers may cost.
    ///
    /// - Parameter mostTokens: the longest answer, as far as is known before the engine counts.
    /// - Returns: nil where nothing is to be paid.
    /// - Throws: 402 when the project cannot pay for 16 tokens, or a hard cap leaves no room for them; 503 when the ledger does not answer.
    static func hold(
        _ asked: some GenerationRequest, mostTokens: Int?, at endpoint: EndpointRecord, by payer: CreditPayer, for requestID: String,
        from credit: Credit
    ) throws -> OutputCredit? {
        var quote = CreditQuote(
            promptTokens: asked.mostPromptTokens, priceNanoPerMtok: endpoint.tier.priceNanoPerMtok,
            multiplierBasisPoints: asked.profile.multiplierBasisPoints)
        let first = min(mostTokens ?? step, step)
        let want = quote.cost(output: asked.answers * first)
        guard want > 0 else { return nil }
        let taken = try credit.take(
            want: want, least: quote.cost(output: asked.answers * min(first, least)), by: payer, for: requestID)
        var limit: Int?
        do {
            if taken.held < want {
                limit = quote.output(for: taken.held) / asked.answers
            } else if let mostTokens, mostTokens > first {
                let payable = quote.output(for: try taken.payable(needed: quote.cost(output: asked.answers * mostTokens))) / asked.answers
                if payable < mostTokens { limit = max(payable, first) }
            }
        } catch {
            taken.giveBack()
            throw error
        }
        quote.promptTokens = asked.promptEstimate
        let held = OutputCredit(taken, quote)
        held.limit = limit
        return held
    }

    /// Whether so many tokens of output are paid for already.
    func covers(_ outputTokens: Int) -> Bool { outputTokens <= covered }

    /// Holds more, until so many tokens of output are paid for.
    /// - Returns: false when the project cannot pay for them.
    func cover(_ outputTokens: Int) -> Bool {
        guard outputTokens > covered else { return true }
        do {
            let want = quote.cost(output: outputTokens - 1 + Self.step) - taken.held
            guard try taken.grow(want: want, least: quote.cost(output: outputTokens) - taken.held) > 0 else {
                isUsedUp = true
                return false
            }
            covered = quote.output(for: taken.held)
        } catch {
            // The ledger is away: running streams finish (01 §2), and what nothing was held for is settled all the same.
            covered = outputTokens - 1 + Self.step
        }
        return true
    }

    /// Why an answer that ended for its length did so, as in `stop_detail`.
    func stopDetail(finishReason: String?) -> String? {
        guard isUsedUp || (limit != nil && finishReason == "length") else { return nil }
        return (taken.limit == nil ? ErrorCode.insufficientCredits : .budgetExceeded).name
    }
}
