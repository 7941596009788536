import Glibc

/// How workers are drawn (05 §4).
public struct SamplingSettings: Sendable, Equatable {
    /// The exponent: how much a better score is preferred; 1...64.
    public let sharpness: Int
    /// The part of choices that ignore the score, so that every worker is heard of; 0...0.5.
    public let epsilon: Double

    public static let standard = SamplingSettings(checkedSharpness: 16, epsilon: 0.05)

    /// nil where a value is out of its range.
    public init?(sharpness: Int, epsilon: Double) {
        guard 1...64 ~= sharpness, 0...0.5 ~= epsilon else { return nil }
        self.init(checkedSharpness: sharpness, epsilon: epsilon)
    }

    private init(checkedSharpness sharpness: Int, epsilon: Double) {
        self.sharpness = sharpness
        self.epsilon = epsilon
    }
}

/// One that may be drawn.
public struct Candidate: Sendable, Equatable {
    public var score: Double
    /// Has the model loaded: exploring does not make a worker load one.
    public var isLoaded: Bool

    public init(score: Double, isLoaded: Bool) {
        self.score = score
        self.isLoaded = isLoaded
    }
}

public struct Draw: Sendable, Equatable {
    /// Place among the candidates.
    public var place: Int
    /// Chosen without regard to the score.
    public var isExploration: Bool

    public init(place: Int, isExploration: Bool) {
        self.place = place
        self.isExploration = isExploration
    }
}

/// Draws one of the candidates: by A-Res with k = 1 (Efraimidis and Spirakis, 2006), so with the probability w / sum(w), w = max(score, 0.001) ^
/// sharpness; or, with the probability epsilon, uniformly.
/// - Returns: nil without candidates.
public func draw(from candidates: [Candidate], _ settings: SamplingSettings, using generator: inout some RandomNumberGenerator) -> Draw? {
    if candidates.count <= 1 { return candidates.isEmpty ? nil : Draw(place: 0, isExploration: false) }
    if generator.nextUnit() < settings.epsilon {
        let loaded = candidates.indices.filter { candidates[$0].isLoaded }
        let place = loaded.randomElement(using: &generator) ?? Int.random(in: candidates.indices, using: &generator)
        return Draw(place: place, isExploration: true)
    }
    var best = (place: 0, key: -Double.infinity)
    for place in candidates.indices {
        let key = log(generator.nextUnit()) / power(max(candidates[place].score, 0.001), settings.sharpness)
        if key > best.key { best = (place, key) }
    }
    return Draw(place: best.place, isExploration: false)
}

/// How probable each of the candidates is to be drawn: as `draw` does it.
public func probabilities(of candidates: [Candidate], _ settings: SamplingSettings) -> [Double] {
    if candidates.count <= 1 { return candidates.map { _ in 1 } }
    let weights = candidates.map { power(max($0.score, 0.001), settings.sharpness) }
    let sum = weights.reduce(0, +)
    let loaded = candidates.count { $0.isLoaded }
    let explored = Double(loaded > 0 ? loaded : candidates.count)
    return candidates.indices.map { place in
        let isExplored = loaded == 0 || candidates[place].isLoaded
        return (1 - settings.epsilon) * weights[place] / sum + (isExplored ? settings.epsilon / explored : 0)
    }
}

/// By squaring, which is faster than pow(3) for the exponents there are.
private func power(_ base: Double, _ exponent: Int) -> Double {
    var (result, square, rest) = (1.0, base, exponent)
    while rest > 0 {
        if rest & 1 == 1 { result *= square }
        square *= square
        rest >>= 1
    }
    return result
}
