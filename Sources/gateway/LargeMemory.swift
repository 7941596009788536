import CThreads

/// Lets what is larger than 1 MiB, the frames of files, go back to the kernel when it is freed. Otherwise malloc soon keeps it, in an arena of each
/// thread, and a process holds as much as all its threads ever did.
func giveLargeMemoryBack() { mallopt(M_MMAP_THRESHOLD, 1 << 20) }
