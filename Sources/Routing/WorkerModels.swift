/// The models of a worker. There are a few at most, so the right one is found sooner by comparing than by hashing.
public struct WorkerModels: Sendable {
    private var versions: [ModelVersion] = []
    /// In the order of the versions.
    private(set) var models: [Worker.Model] = []

    public init() {}

    public subscript(version: ModelVersion) -> Worker.Model? {
        get { place(of: version).map { models[$0] } }
        set {
            switch (place(of: version), newValue) {
            case (let place?, let model?): models[place] = model
            case (let place?, nil):
                versions.remove(at: place)
                models.remove(at: place)
            case (nil, let model?):
                versions.append(version)
                models.append(model)
            case (nil, nil): break
            }
        }
    }

    func place(of version: ModelVersion) -> Int? {
        for place in versions.indices where versions[place].id == version.id && versions[place].version == version.version { return place }
        return nil
    }
}
