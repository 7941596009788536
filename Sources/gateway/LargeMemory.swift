/// mallopt(3), which Swift's Glibc module leaves out.
@_silgen_name("mallopt") private func mallopt(_ parameter: Int32, _ value: Int32) -> Int32

/// Lets what is larger than 1 MiB, the frames of files, go back to the kernel when it is freed. Otherwise malloc soon keeps it, in an arena of each
/// thread, and a process holds as much as all its threads ever did.
func giveLargeMemoryBack() {
    let threshold: Int32 = -3  // M_MMAP_THRESHOLD of malloc.h
    _ = mallopt(threshold, 1 << 20)
}
